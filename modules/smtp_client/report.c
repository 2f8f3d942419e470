/*
 * report.c - the names of states, the part of `greenarrow status`, the delivery
 * service's stats().  The list of connections is in connections.c.
 */
#include "client.h"

#include <greenarrow/service/control.h>

static const struct {
	const char *state, *command;
} names[SMTPC_STATES] = {
	[SMTPC_CONNECTING] = { "connecting", "" },
	[SMTPC_SMTPS] = { "establishing_smtps", "" },
	[SMTPC_GREETING] = { "sending", "" },
	[SMTPC_EHLO] = { "sending", "EHLO" },
	[SMTPC_HELO] = { "sending", "EHLO" },
	[SMTPC_STARTTLS_CMD] = { "sending", "STARTTLS" },
	[SMTPC_HANDSHAKE] = { "sending", "STARTTLS" },
	[SMTPC_AUTH] = { "sending", "AUTH" },
	[SMTPC_PREPARE] = { "sending", "sending message (reading)" },
	[SMTPC_RSET] = { "sending", "MAIL FROM" },
	[SMTPC_MAIL] = { "sending", "MAIL FROM" },
	[SMTPC_RCPT] = { "sending", "RCPT TO" },
	[SMTPC_DATA] = { "sending", "DATA" },
	[SMTPC_BODY] = { "sending", "sending message (sending)" },
	[SMTPC_HELD] = { "sending", "sending message (sending)" },
	[SMTPC_DOT] = { "sending", "sending message (waiting)" },
	[SMTPC_SAVED] = { "saved_for_reuse", "" },
	[SMTPC_QUIT] = { "closing", "QUIT" },
	[SMTPC_CLOSED] = { "closing", "" },
};

const char *
smtpc_state_name(enum smtpc_state s)
{
	return names[s].state;
}

const char *
smtpc_command_name(enum smtpc_state s)
{
	return names[s].command;
}

/* --- totals --- */

static void
put_int(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)v));
}

void
smtpc_stats(struct ga_delivery_stats *s)
{
	*s = (struct ga_delivery_stats){
		.connections = atomic_load(&smtpc.connections),
		.saved = atomic_load(&smtpc.saved),
		.connecting = atomic_load(&smtpc.connecting),
		.opened_total = atomic_load(&smtpc.opened),
		.transactions_total = atomic_load(&smtpc.transactions),
		.recipients_total = atomic_load(&smtpc.recipients),
		.success_total = atomic_load(&smtpc.successes),
		.deferral_total = atomic_load(&smtpc.deferrals),
		.failure_total = atomic_load(&smtpc.failures),
	};
}

static void
status(struct ga_inst *inst, struct json_object *all)
{
	struct json_object *o = json_object_new_object();
	struct ga_delivery_stats s;

	smtpc_stats(&s);
	put_int(o, "connections", s.connections);
	put_int(o, "connecting", s.connecting);
	put_int(o, "saved_for_reuse", s.saved);
	put_int(o, "opened_total", s.opened_total);
	put_int(o, "transactions_total", s.transactions_total);
	put_int(o, "recipients_total", s.recipients_total);
	put_int(o, "success_total", s.success_total);
	put_int(o, "deferral_total", s.deferral_total);
	put_int(o, "failure_total", s.failure_total);
	json_object_object_add(all, "smtp_client", o);
}

void
smtpc_report_init(struct ga_inst *inst)
{
	smtpc_connections_init(inst);
	smtpc_close_init(inst);
	ga_status_register(inst, status);
}
