CREATE TABLE "api_key" (
	"id" text PRIMARY KEY NOT NULL,
	"owner" text NOT NULL,
	"display_name" text NOT NULL,
	"environment" text NOT NULL,
	"scopes" text[] NOT NULL,
	"labels" jsonb NOT NULL,
	"metadata" jsonb,
	"allowed_cidrs" text[] NOT NULL,
	"disabled" boolean NOT NULL,
	"current_version" integer NOT NULL,
	"ttl_ms" bigint NOT NULL,
	"create_time" timestamp (3) with time zone NOT NULL,
	"update_time" timestamp (3) with time zone NOT NULL,
	"created_by" jsonb NOT NULL,
	"revoke_time" timestamp (3) with time zone,
	"revoked_by" jsonb,
	"revoke_reason" text,
	"revoke_note" text NOT NULL,
	"revision" bigint NOT NULL,
	CONSTRAINT "api_key_id_form" CHECK ("api_key"."id" ~ '^key_[0-7][0-9a-hjkmnp-tv-z]{25}$'),
	CONSTRAINT "api_key_environment_known" CHECK ("api_key"."environment" in ('live', 'test')),
	CONSTRAINT "api_key_display_name_length" CHECK (char_length("api_key"."display_name") between 1 and 63),
	CONSTRAINT "api_key_scopes_count" CHECK (cardinality("api_key"."scopes") <= 64),
	CONSTRAINT "api_key_labels_object" CHECK (jsonb_typeof("api_key"."labels") = 'object'),
	CONSTRAINT "api_key_cidrs_count" CHECK (cardinality("api_key"."allowed_cidrs") <= 50),
	CONSTRAINT "api_key_ttl_positive" CHECK ("api_key"."ttl_ms" > 0),
	CONSTRAINT "api_key_revoked_whole" CHECK (("api_key"."revoke_time" is null) = ("api_key"."revoked_by" is null)),
	CONSTRAINT "api_key_revoke_reason_known" CHECK ("api_key"."revoke_reason" in ('compromised', 'no_longer_used', 'owner_left', 'policy', 'other'))
);
--> statement-breakpoint
CREATE TABLE "key_owner" (
	"id" text PRIMARY KEY NOT NULL,
	"create_time" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "key_owner_id_length" CHECK (octet_length("key_owner"."id") between 1 and 255)
);
--> statement-breakpoint
CREATE TABLE "revision" (
	"id" smallint PRIMARY KEY NOT NULL,
	"rev" bigint NOT NULL,
	CONSTRAINT "revision_one_row" CHECK ("revision"."id" = 1)
);
--> statement-breakpoint
CREATE TABLE "secret_version" (
	"key_id" text NOT NULL,
	"version" integer NOT NULL,
	"digest" "bytea" NOT NULL,
	"root" text NOT NULL,
	"hint" text NOT NULL,
	"create_time" timestamp (3) with time zone NOT NULL,
	"expire_time" timestamp (3) with time zone NOT NULL,
	"retire_time" timestamp (3) with time zone,
	CONSTRAINT "secret_version_key_id_version_pk" PRIMARY KEY("key_id","version"),
	CONSTRAINT "secret_version_counts_from_one" CHECK ("secret_version"."version" >= 1),
	CONSTRAINT "secret_version_digest_length" CHECK (octet_length("secret_version"."digest") = 32),
	CONSTRAINT "secret_version_term_positive" CHECK ("secret_version"."expire_time" > "secret_version"."create_time")
);
--> statement-breakpoint
CREATE TABLE "verifier" (
	"epoch" text PRIMARY KEY NOT NULL,
	"roots" text[] NOT NULL,
	"address" text NOT NULL,
	"renew_time" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_owner_key_owner_id_fk" FOREIGN KEY ("owner") REFERENCES "public"."key_owner"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "secret_version" ADD CONSTRAINT "secret_version_key_id_api_key_id_fk" FOREIGN KEY ("key_id") REFERENCES "public"."api_key"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "api_key_owner_id" ON "api_key" USING btree ("owner","id");--> statement-breakpoint
CREATE INDEX "api_key_labels" ON "api_key" USING gin ("labels" jsonb_path_ops);--> statement-breakpoint
CREATE INDEX "api_key_revoke_time" ON "api_key" USING btree ("revoke_time") WHERE "api_key"."revoke_time" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "secret_version_digest" ON "secret_version" USING btree ("digest");--> statement-breakpoint
CREATE INDEX "secret_version_expire_time" ON "secret_version" USING btree ("expire_time");