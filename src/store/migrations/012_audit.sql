-- Who did what, in order. Each entry's hash covers the entry and the hash before it.
CREATE TABLE audit (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor_id   TEXT,
    actor      TEXT NOT NULL,
    via        TEXT NOT NULL,
    address    TEXT,
    request_id TEXT,
    action     TEXT NOT NULL,
    app_id     TEXT,
    app        TEXT,
    details    TEXT NOT NULL,
    hash       BLOB NOT NULL
) STRICT;

CREATE INDEX audit_by_app ON audit (app_id, seq);

CREATE TRIGGER audit_in_order BEFORE INSERT ON audit
WHEN NEW.seq != (SELECT coalesce(max(seq), 0) + 1 FROM audit)
BEGIN SELECT RAISE(ABORT, 'the audit is written in order'); END;

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END;

CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END;
