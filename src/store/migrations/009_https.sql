-- What an app wants of HTTPS: requests without it sent there, and browsers told to stay with it.
ALTER TABLE apps ADD COLUMN https_redirect INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN hsts INTEGER NOT NULL DEFAULT 0;
