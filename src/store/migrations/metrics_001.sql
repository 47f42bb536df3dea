-- A dyno's figures from a minute (of the Unix epoch) on, for some minutes. Without a dyno: requests
-- that none got.
CREATE TABLE metrics (
    app_id       TEXT NOT NULL,
    minute       INTEGER NOT NULL,
    dyno         TEXT NOT NULL,
    s2           INTEGER NOT NULL,
    s3           INTEGER NOT NULL,
    s4           INTEGER NOT NULL,
    s5           INTEGER NOT NULL,
    times        BLOB NOT NULL,
    cpu_sum      INTEGER NOT NULL,
    cpu_count    INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    PRIMARY KEY (app_id, minute, dyno)
) STRICT, WITHOUT ROWID;

CREATE INDEX metrics_by_minute ON metrics (minute);
