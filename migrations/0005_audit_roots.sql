-- Processes of an older version may go on: they know nothing of the table, and seal what names a root that they do not know.
CREATE TABLE "audit_root" (
	"id" text NOT NULL,
	"wrapped_by" text NOT NULL,
	"wrapped" "bytea" NOT NULL,
	CONSTRAINT "audit_root_id_wrapped_by_pk" PRIMARY KEY("id","wrapped_by"),
	CONSTRAINT "audit_root_wrapped_length" CHECK (octet_length("audit_root"."wrapped") = 60)
);
