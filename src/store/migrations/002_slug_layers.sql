-- The slug's own layers from the bottom, as `sha256:…` with spaces between: their files are below
-- the data directory. Empty for slugs from before they were kept.
ALTER TABLE slugs ADD COLUMN layers TEXT NOT NULL DEFAULT '';
