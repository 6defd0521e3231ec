-- Processes of an older version may go on. They do not move the time of their sources: one that runs for longer than 8
-- days beside newer processes is told that the ledger has forgotten it, and goes on as another source; nothing is lost.
ALTER TABLE "usage_source" ADD COLUMN "time" timestamp (3) with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
CREATE INDEX "usage_source_caller" ON "usage_source" USING btree (split_part("epoch", '/', 1));