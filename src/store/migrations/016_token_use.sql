-- When a token was used last. What was used before there was this column says nothing.
ALTER TABLE authorizations ADD COLUMN used_at INTEGER;
