-- Processes of an older version may not go on: what they change does not enter the feed, so that caches would not learn
-- of it. They register again by themselves, hence the empty table.
DELETE FROM "verifier";--> statement-breakpoint
CREATE TABLE "invalidation" (
	"rev" bigint NOT NULL,
	"key_id" text NOT NULL,
	"time" timestamp (3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "invalidation_rev_key_id_pk" PRIMARY KEY("rev","key_id")
);
--> statement-breakpoint
ALTER TABLE "api_key" ADD COLUMN "narrowed_rev" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "api_key" ADD COLUMN "settled_rev" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "revision" ADD COLUMN "trimmed_rev" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "revision" ADD COLUMN "cluster_id" text DEFAULT gen_random_uuid()::text NOT NULL;--> statement-breakpoint
ALTER TABLE "revision" ADD COLUMN "set_marker" text DEFAULT '' NOT NULL;--> statement-breakpoint
ALTER TABLE "verifier" ADD COLUMN "term_ms" integer NOT NULL;--> statement-breakpoint
ALTER TABLE "verifier" ADD COLUMN "uses_revocation_set" boolean NOT NULL;--> statement-breakpoint
ALTER TABLE "verifier" ADD COLUMN "acked_rev" bigint NOT NULL;--> statement-breakpoint
ALTER TABLE "verifier" ADD COLUMN "renew_seq" bigint NOT NULL;--> statement-breakpoint
ALTER TABLE "verifier" ADD COLUMN "collect_time" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "api_key_unsettled" ON "api_key" USING btree ("id") WHERE "api_key"."narrowed_rev" > "api_key"."settled_rev";