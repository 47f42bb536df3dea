-- Who else may use an app, and what they may do: a list like `view,deploy`.
CREATE TABLE collaborators (
    id          TEXT PRIMARY KEY,
    app_id      TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    user_id     TEXT NOT NULL REFERENCES users (id),
    permissions TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    UNIQUE (app_id, user_id)
) STRICT;

CREATE INDEX collaborators_by_user ON collaborators (user_id);

-- A user who was removed: the row stays, since releases and builds say who made them.
ALTER TABLE users ADD COLUMN removed_at INTEGER;
