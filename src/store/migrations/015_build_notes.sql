-- Sealed notes of a build that has not ended: what a later server needs to begin it again, and what
-- its buildpack wants the app to have from its first deploy on.
ALTER TABLE builds ADD COLUMN request BLOB;
ALTER TABLE builds ADD COLUMN first_deploy BLOB;
