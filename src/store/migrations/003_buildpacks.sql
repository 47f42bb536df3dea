-- The buildpacks of an app in their order: chosen by the user, or found by the first build.
CREATE TABLE app_buildpacks (
    app_id    TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    ordinal   INTEGER NOT NULL,
    buildpack TEXT NOT NULL,
    PRIMARY KEY (app_id, ordinal)
) STRICT;

INSERT INTO app_buildpacks (app_id, ordinal, buildpack)
SELECT id, 0, buildpack FROM apps WHERE buildpack IS NOT NULL;

ALTER TABLE apps DROP COLUMN buildpack;
