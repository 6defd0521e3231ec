-- Every key has the secret version that it calls current. Deferred, since a key and its first secret need each other.
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_current_version_fk"
  FOREIGN KEY ("id", "current_version") REFERENCES "secret_version" ("key_id", "version")
  DEFERRABLE INITIALLY DEFERRED;
--> statement-breakpoint
INSERT INTO "revision" ("id", "rev") VALUES (1, 0);
