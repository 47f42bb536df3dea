CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT;

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password_hash TEXT NOT NULL,
    admin         INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;

-- A token is known only by its hash.
CREATE TABLE authorizations (
    id          TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash  BLOB NOT NULL UNIQUE,
    description TEXT NOT NULL,
    expires_at  INTEGER,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE apps (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    owner_id     TEXT NOT NULL REFERENCES users (id),
    stack        TEXT NOT NULL,
    maintenance  INTEGER NOT NULL DEFAULT 0,
    buildpack    TEXT,
    description  TEXT,
    repo_size    INTEGER,
    slug_size    INTEGER,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    released_at  INTEGER
) STRICT;

-- Apps that were destroyed and whose repository, volume, images and logs may still lie about.
CREATE TABLE destroyed_apps (
    id           TEXT PRIMARY KEY,
    destroyed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE slugs (
    id                 TEXT PRIMARY KEY,
    app_id             TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    commit_id          TEXT,
    commit_description TEXT,
    process_types      TEXT NOT NULL,
    image              TEXT NOT NULL,
    size               INTEGER NOT NULL,
    stack              TEXT NOT NULL,
    description        TEXT,
    created_at         INTEGER NOT NULL,
    deleted_at         INTEGER
) STRICT;

CREATE INDEX slugs_by_app ON slugs (app_id);

CREATE TABLE builds (
    id               TEXT PRIMARY KEY,
    app_id           TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    user_id          TEXT NOT NULL REFERENCES users (id),
    status           TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    commit_id        TEXT,
    git_ref          TEXT,
    slug_id          TEXT REFERENCES slugs (id) ON DELETE SET NULL,
    release_id       TEXT,
    stack            TEXT NOT NULL,
    buildpack        TEXT,
    buildpack_millis INTEGER,
    total_millis     INTEGER,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX builds_by_app ON builds (app_id, created_at);
CREATE INDEX builds_pending ON builds (status) WHERE status = 'pending';

CREATE TABLE releases (
    id             TEXT PRIMARY KEY,
    app_id         TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version        INTEGER NOT NULL,
    slug_id        TEXT REFERENCES slugs (id),
    config         BLOB NOT NULL,
    description    TEXT NOT NULL,
    user_id        TEXT NOT NULL REFERENCES users (id),
    status         TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'expired')),
    has_output     INTEGER NOT NULL DEFAULT 0,
    served_at      INTEGER,
    serving_millis INTEGER,
    created_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    UNIQUE (app_id, version)
) STRICT;

CREATE TABLE formations (
    id         TEXT PRIMARY KEY,
    app_id     TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process    TEXT NOT NULL,
    quantity   INTEGER NOT NULL CHECK (quantity >= 0),
    size       TEXT NOT NULL,
    epoch      INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (app_id, process)
) STRICT;

-- Restarts of single dynos: the dyno's epoch is its type's plus this.
CREATE TABLE dyno_epochs (
    app_id  TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process TEXT NOT NULL,
    number  INTEGER NOT NULL,
    epoch   INTEGER NOT NULL,
    PRIMARY KEY (app_id, process, number)
) STRICT;
