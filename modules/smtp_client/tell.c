/*
 * tell.c - what modules are told of a connection: hooks `line`, `bytes`, `connection_*`.
 *
 * Called where it happens, on the connection's loop; all are watch hooks, which answer
 * nothing and do not wait.  Whether anybody listens is asked before anything is
 * gathered.
 */
#include "client.h"

#include <string.h>

struct ga_addr
smtpc_addr(const struct ga_sockaddr *sa, char buf[GA_SOCKADDR_TEXT])
{
	if (sa->len == 0)
		return (struct ga_addr){ { "", 0 }, 0, 0 };
	return (struct ga_addr){ ga_str_c(ga_sockaddr_text(sa, false, buf)),
		ga_sockaddr_port(sa), (uint8_t)sa->u.sa.sa_family };
}

/* Of a struct of nearly a kilobyte the fields that a watch hook needs: lines are many. */
static void
tell(struct smtpc_conn *c, enum ga_hook_id hook, const void *event)
{
	struct ga_run run;

	memset(&run, 0, offsetof(struct ga_run, reply));
	run.worker = c->loop->worker;
	run.settings = c->route->settings;
	run.connection = &c->kept;
	run.object_id = c->id;
	ga_run_hook(&run, hook, event);
}

/* An event with the room for its addresses. */
struct told {
	struct ga_ev_connection ev;
	char local[GA_SOCKADDR_TEXT], remote[GA_SOCKADDR_TEXT];
};

static void
describe(struct told *t, struct smtpc_conn *c, const char *reason)
{
	const struct ga_sockaddr *local = c->local.len > 0 ? &c->local : &smtpc_source(c)->address;

	t->ev = (struct ga_ev_connection){
		.id = c->id,
		.local = smtpc_addr(local, t->local),
		.remote = smtpc_addr(&c->remote, t->remote),
		.mx_hostname = ga_str_c(c->mx),
		.virtual_mta = c->route->virtual_mta,
		.domain = c->route->domain,
		.group_key = smtpc.throttle->key(c->group),
		.deliveries_done = c->done,
		.tls = c->tls,
		.reason = ga_str_c(reason),
	};
}

void
smtpc_tell_connection(struct smtpc_conn *c, enum ga_hook_id hook, const char *reason)
{
	struct told t;

	if (c->plan->hooks[hook] == NULL)
		return;
	describe(&t, c, reason);
	tell(c, hook, &t.ev);
}

void
smtpc_tell_tls(struct smtpc_conn *c, const char *err)
{
	const struct ga_stream_info *i;
	struct told t;

	if (!GA_WANTED(c->plan, connection_tls))
		return;
	i = ga_stream_info(c->stream);
	describe(&t, c, err != NULL ? err : "");
	t.ev.tls = err == NULL;
	t.ev.verified = c->verified;
	if (err == NULL) {
		t.ev.tls_version = ga_str_c(i->tls_version);
		t.ev.tls_cipher = ga_str_c(i->tls_cipher);
	}
	tell(c, GA_HOOK_connection_tls, &t.ev);
}

void
smtpc_line(struct smtpc_conn *c, enum ga_line kind, const char *p, size_t n)
{
	while (n > 0) {
		const char *lf = memchr(p, '\n', n);
		size_t len = lf != NULL ? (size_t)(lf - p) : n;
		struct ga_ev_line ev = { c->id, kind, { p, len }, { "", 0 } };

		if (len > 0 && p[len - 1] == '\r')
			ev.text.n--;
		tell(c, GA_HOOK_line, &ev);
		len += lf != NULL;
		p += len;
		n -= len;
	}
}

void
smtpc_line_secret(struct smtpc_conn *c, struct ga_str shown, struct ga_str secret)
{
	struct ga_ev_line ev = { c->id, GA_OUT_CMD, shown, secret };

	if (GA_WANTED(c->plan, line))
		tell(c, GA_HOOK_line, &ev);
}

static void
octets(struct smtpc_conn *c, enum ga_line kind, bool content, bool secret, struct ga_str s)
{
	struct ga_ev_bytes ev = { c->id, kind, content, secret, s };

	if (s.n > 0)
		tell(c, GA_HOOK_bytes, &ev);
}

void
smtpc_octets(struct smtpc_conn *c, enum ga_line kind, bool content, struct ga_str s)
{
	if (GA_WANTED(c->plan, bytes))
		octets(c, kind, content, false, s);
}

/* Up to three pieces: the middle one is the secret. */
void
smtpc_tell_sent(struct smtpc_conn *c, size_t from, size_t to)
{
	const struct smtpc_out *o = &c->out;
	const size_t cuts[] = { o->secret_at, o->secret_end, to };

	for (unsigned i = 0; i < 3; i++) {
		size_t end = cuts[i] < to ? cuts[i] : to;

		if (end <= from)
			continue;
		octets(c, GA_OUT_CMD, false, i == 1, (struct ga_str){ o->p + from, end - from });
		from = end;
	}
}
