-- Processes of an older version may go on: they hold no field of the keys that they change, and record each report of a
-- dead secret. What newer processes have held stays held.
ALTER TABLE "api_key" ADD COLUMN "held" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "secret_version" ADD COLUMN "leak_report_time" timestamp (3) with time zone;
