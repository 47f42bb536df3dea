-- What each process type runs in, as JSON, where the app's own Dockerfiles made that.
ALTER TABLE slugs ADD COLUMN images TEXT NOT NULL DEFAULT '{}';
