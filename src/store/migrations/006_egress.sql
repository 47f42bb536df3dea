-- Where an app's dynos may connect to: anywhere (null), or a list, which may be empty.
ALTER TABLE apps ADD COLUMN egress TEXT;
