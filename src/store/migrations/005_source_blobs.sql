-- What the caller of a build said of its source, which is not a push's then.
ALTER TABLE builds ADD COLUMN source_url TEXT;
ALTER TABLE builds ADD COLUMN source_checksum TEXT;
ALTER TABLE builds ADD COLUMN version_description TEXT;
