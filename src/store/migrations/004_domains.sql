-- Names of apps beside their own: lower case, without a final dot, perhaps with `*.` in front. A
-- name leads to one app on the whole platform.
CREATE TABLE domains (
    id         TEXT PRIMARY KEY,
    app_id     TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    hostname   TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX domains_by_app ON domains (app_id);
