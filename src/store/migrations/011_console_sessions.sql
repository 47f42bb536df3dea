-- Who is signed in to the console, and from where. Of the cookie only a hash is kept.
CREATE TABLE console_sessions (
    id          TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret_hash BLOB NOT NULL UNIQUE,
    address     TEXT NOT NULL,
    agent       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL
) STRICT;

CREATE INDEX console_sessions_by_user ON console_sessions (user_id);

-- A password that somebody else has seen, as every first one: it was shown when it was made.
ALTER TABLE users ADD COLUMN must_change_password INTEGER NOT NULL DEFAULT 1;
