-- Certificates that come by themselves: one row for each name that shall have one, from the moment
-- it is wanted. An app's own name has no domain, the platform's own names have no app either.
ALTER TABLE apps ADD COLUMN acm INTEGER NOT NULL DEFAULT 0;

CREATE TABLE auto_certificates (
    hostname   TEXT PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    app_id     TEXT REFERENCES apps (id) ON DELETE CASCADE,
    domain_id  TEXT REFERENCES domains (id) ON DELETE CASCADE,
    state      TEXT NOT NULL,
    reason     TEXT,
    attempts   INTEGER NOT NULL DEFAULT 0,
    tried_at   INTEGER,
    chain      TEXT,
    key        BLOB,
    renew_at   INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX auto_certificates_by_app ON auto_certificates (app_id);
