/*
 * report.c - the names of states, the part of `greenarrow status`, the delivery
 * service's stats().  The list of connections is in connections.c.
 */
#include "client.h"

#include <greenarrow/json.h>
#include <greenarrow/service/control.h>

static const struct {
	const char *state, *command, *phase;	/* phase: in status */
} names[SMTPC_STATES] = {
	[SMTPC_CONNECTING] = { "connecting", "", "connecting" },
	[SMTPC_SMTPS] = { "establishing_smtps", "", "tls" },
	[SMTPC_GREETING] = { "sending", "", "greeting" },
	[SMTPC_EHLO] = { "sending", "EHLO", "hello" },
	[SMTPC_HELO] = { "sending", "EHLO", "hello" },
	[SMTPC_STARTTLS_CMD] = { "sending", "STARTTLS", "tls" },
	[SMTPC_HANDSHAKE] = { "sending", "STARTTLS", "tls" },
	[SMTPC_AUTH] = { "sending", "AUTH", "auth" },
	[SMTPC_PREPARE] = { "sending", "sending message (reading)", "reading" },
	[SMTPC_RSET] = { "sending", "MAIL FROM", "mail" },
	[SMTPC_MAIL] = { "sending", "MAIL FROM", "mail" },
	[SMTPC_RCPT] = { "sending", "RCPT TO", "rcpt" },
	[SMTPC_DATA] = { "sending", "DATA", "data" },
	[SMTPC_BODY] = { "sending", "sending message (sending)", "message" },
	[SMTPC_HELD] = { "sending", "sending message (sending)", "message" },
	[SMTPC_DOT] = { "sending", "sending message (waiting)", "message" },
	[SMTPC_SAVED] = { "saved_for_reuse", "", "saved" },
	[SMTPC_QUIT] = { "closing", "QUIT", "quit" },
	[SMTPC_CLOSED] = { "closing", "", "closed" },
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

static uint64_t
in_state(enum smtpc_state s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < ga_worker_count(); i++)
		n += atomic_load_explicit(&smtpc_loop(ga_worker_get(i))->in_state[s], memory_order_relaxed);
	return n;
}

/* How many connections are in which phase of a session, in the order of one. */
static struct json_object *
phases(void)
{
	struct json_object *o = json_object_new_object(), *before;

	for (enum smtpc_state s = 0; s < SMTPC_CLOSED; s++) {
		uint64_t n = in_state(s);

		if (json_object_object_get_ex(o, names[s].phase, &before))
			n += (uint64_t)json_object_get_int64(before);
		ga_json_put_int(o, names[s].phase, n);
	}
	return o;
}

static void
status(struct ga_inst *inst, struct json_object *all)
{
	struct json_object *o = json_object_new_object();
	struct ga_delivery_stats s;

	smtpc_stats(&s);
	ga_json_put_int(o, "connections", s.connections);
	ga_json_put_int(o, "connecting", s.connecting);
	ga_json_put_int(o, "saved_for_reuse", s.saved);
	ga_json_put_int(o, "opened_total", s.opened_total);
	ga_json_put_int(o, "transactions_total", s.transactions_total);
	ga_json_put_int(o, "recipients_total", s.recipients_total);
	ga_json_put_int(o, "success_total", s.success_total);
	ga_json_put_int(o, "deferral_total", s.deferral_total);
	ga_json_put_int(o, "failure_total", s.failure_total);
	json_object_object_add(o, "phases", phases());
	json_object_object_add(all, "smtp_client", o);
}

void
smtpc_report_init(struct ga_inst *inst)
{
	smtpc_connections_init(inst);
	smtpc_close_init(inst);
	ga_status_register(inst, status);
}
