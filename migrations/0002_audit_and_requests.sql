CREATE TABLE "audit_event" (
	"id" text PRIMARY KEY NOT NULL,
	"time" timestamp (3) with time zone NOT NULL,
	"actor" jsonb NOT NULL,
	"action" text NOT NULL,
	"outcome" text NOT NULL,
	"key_id" text NOT NULL,
	"owner" text NOT NULL,
	"request_id" text NOT NULL,
	"details" jsonb NOT NULL,
	"root" text NOT NULL,
	"mac" "bytea" NOT NULL,
	CONSTRAINT "audit_event_outcome_known" CHECK ("audit_event"."outcome" in ('done', 'denied'))
);
--> statement-breakpoint
CREATE TABLE "audit_pending" (
	"event_id" text PRIMARY KEY NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_seal" (
	"sequence" bigint PRIMARY KEY NOT NULL,
	"event_id" text NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "audit_seal_event_id_unique" UNIQUE("event_id"),
	CONSTRAINT "audit_seal_hash_length" CHECK (octet_length("audit_seal"."hash") = 32)
);
--> statement-breakpoint
CREATE TABLE "done_request" (
	"caller" text NOT NULL,
	"method" text NOT NULL,
	"request_id" text NOT NULL,
	"payload" "bytea" NOT NULL,
	"key_id" text NOT NULL,
	"version" integer NOT NULL,
	"expire_time" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "done_request_caller_method_request_id_pk" PRIMARY KEY("caller","method","request_id")
);
--> statement-breakpoint
ALTER TABLE "audit_pending" ADD CONSTRAINT "audit_pending_event_id_audit_event_id_fk" FOREIGN KEY ("event_id") REFERENCES "public"."audit_event"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "audit_seal" ADD CONSTRAINT "audit_seal_event_id_audit_event_id_fk" FOREIGN KEY ("event_id") REFERENCES "public"."audit_event"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_event_key_id" ON "audit_event" USING btree ("key_id");--> statement-breakpoint
CREATE INDEX "audit_event_owner" ON "audit_event" USING btree ("owner");--> statement-breakpoint
CREATE INDEX "done_request_expire_time" ON "done_request" USING btree ("expire_time");