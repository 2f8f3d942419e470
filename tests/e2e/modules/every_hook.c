/*
 * every_hook.c - a module that uses every hook: the example for authors, and the
 * end-to-end proof that each hook works.
 *
 * Of level stable: it includes <greenarrow/greenarrow.h> alone and is built outside
 * the tree, as any module of somebody else:
 *
 *	cc -fPIC -shared $(pkg-config --cflags greenarrow) -o every_hook.so every_hook.c
 *
 * Its directives say what the hooks do.  every_hook_trace names a file; each call
 * appends one line to it: the hook's name and the fields of its event.
 */
#include <greenarrow/greenarrow.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ANYWHERE "general,smtp_service,ip_address,relay_server,domain"

#define EVERY_HOOK_DIRECTIVES(X)								\
	X(path, every_hook_trace, "", "", "general", "File that gets a line a call")		\
	X(table, every_hook_answer, "", "words=2- repeat", ANYWHERE,				\
	    "HOOK VERDICT [CODE ENHANCED TEXT]: what the hook answers")				\
	X(duration, every_hook_after, "0", "", ANYWHERE, "Answer so much later")		\
	X(table, every_hook_add, "", "words=3- repeat", ANYWHERE,				\
	    "eom|outgoing NAME VALUE: a header field to add")					\
	X(table, every_hook_set, "", "words=2- repeat", ANYWHERE,				\
	    "NAME VALUE: another value for a header field")					\
	X(string, every_hook_drop, "", "", ANYWHERE, "Name of a header field to take out")	\
	X(flag, every_hook_upper, "no", "", ANYWHERE, "The body in capitals")			\
	X(string, every_hook_redirect, "", "", ANYWHERE, "Recipient to use instead")		\
	X(string, every_hook_route, "", "", ANYWHERE, "VirtualMTA to use instead")		\
	X(duration, every_hook_again, "0", "", ANYWHERE,					\
	    "When a deferred or held attempt is to be tried again")

GA_CONF_STRUCT(every_hook_conf, EVERY_HOOK_DIRECTIVES);
#define GA_CF_SELF_ struct every_hook_conf
GA_CONF_SCHEMA(every_hook_conf, EVERY_HOOK_DIRECTIVES);

struct instance {
	int trace;
};
struct session {
	unsigned calls;			/* hooks of this session so far */
};
struct txn {
	unsigned rcpts;
};

/* --- the trace --- */

static void trace(struct ga_inst *, const char *fmt, ...) GA_PRINTF(2, 3);

static void
trace(struct ga_inst *inst, const char *fmt, ...)
{
	const struct instance *me = (const struct instance *)ga_inst_state(inst);
	char line[4096];
	va_list ap;
	int n;

	if (me->trace < 0)
		return;
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof line - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof line - 2)
		n = (int)sizeof line - 2;
	line[n++] = '\n';
	/* one write: lines of several loops do not mix */
	if (write(me->trace, line, (size_t)n) != n)
		ga_log(inst, GA_WARN, "EXAMPLE-0001", "the trace cannot be written");
}

#define S(str) (int)(str).n, (str).p

/* --- answers --- */

static const struct every_hook_conf *
conf_of(struct ga_call *call)
{
	return (const struct every_hook_conf *)ga_call_conf(call);
}

static enum ga_verdict
verdict_of(struct ga_str word)
{
	static const struct { const char *word; enum ga_verdict verdict; } words[] = {
		{ "pass", GA_PASS }, { "accept", GA_ACCEPT }, { "tempfail", GA_TEMPFAIL },
		{ "reject", GA_REJECT }, { "discard", GA_DISCARD }, { "hold", GA_HOLD },
		{ "close", GA_CLOSE }
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (ga_str_eq(word, ga_str_c(words[i].word)))
			return words[i].verdict;
	return GA_PASS;
}

/* The row of every_hook_answer for this hook; NULL: none. */
static const struct ga_strlist *
row_of(struct ga_call *call, const char *hook)
{
	const struct every_hook_conf *conf = conf_of(call);

	for (size_t i = 0; i < conf->every_hook_answer.n; i++)
		if (ga_str_eq(conf->every_hook_answer.v[i].v[0], ga_str_c(hook)))
			return &conf->every_hook_answer.v[i];
	return NULL;
}

/* CODE ENHANCED TEXT... behind the verdict become the reply. */
static enum ga_verdict
answer_now(struct ga_call *call, const struct ga_strlist *row)
{
	struct ga_pool *pool = ga_call_pool(call, GA_LIFE_CALL);
	struct ga_str text = { "", 0 };

	if (row == NULL)
		return GA_PASS;
	if (row->n > 3) {
		for (size_t i = 4; i < row->n; i++)
			text = ga_fmt(pool, "%.*s%s%.*s", S(text), i > 4 ? " " : "", S(row->v[i]));
		ga_reply(call, (unsigned)strtoul(ga_cstr(pool, row->v[2]), NULL, 10),
		    ga_cstr(pool, row->v[3]), "%.*s", S(text));
	}
	return verdict_of(row->v[1]);
}

static enum ga_verdict
later(struct ga_call *call, void *arg)
{
	return answer_now(call, (const struct ga_strlist *)arg);
}

static void
gone(void *arg, enum ga_why why)
{
	trace((struct ga_inst *)arg, "cancelled why=%d", (int)why);
}

/* Now, after every_hook_after, never, or not at all. */
static enum ga_verdict
answer(struct ga_call *call, const char *hook)
{
	const struct ga_strlist *row = row_of(call, hook);
	struct ga_wait wait;

	if (row == NULL)
		return GA_PASS;
	if (ga_str_eq(row->v[1], GA_STR("never"))) {
		memset(&wait, 0, sizeof wait);
		wait.size = sizeof wait;
		wait.timeout_ms = 2000;
		wait.label = "an answer that never comes";
		wait.cancelled = gone;
		wait.arg = ga_call_inst(call);
		return ga_suspend(call, &wait, NULL);
	}
	if (ga_str_eq(row->v[1], GA_STR("fail")))
		return ga_fail(call, "%s fails, as it was told to", hook);
	if (conf_of(call)->every_hook_after > 0)
		return ga_await_timer(call, (uint32_t)conf_of(call)->every_hook_after, later,
		    (void *)(uintptr_t)row);
	return answer_now(call, row);
}

static unsigned
count(struct ga_call *call)
{
	struct session *s = (struct session *)ga_call_state(call, GA_LIFE_SESSION);

	return s != NULL ? ++s->calls : 0;
}

/* --- inbound --- */

static enum ga_verdict
on_connect(struct ga_call *call, const struct ga_ev_connect *ev)
{
	trace(ga_call_inst(call), "connect call=%u peer=%.*s service=%.*s tls=%d", count(call),
	    S(ev->peer.text), S(ev->service), ev->tls);
	return answer(call, "connect");
}

static enum ga_verdict
on_helo(struct ga_call *call, const struct ga_ev_helo *ev)
{
	trace(ga_call_inst(call), "helo call=%u name=%.*s esmtp=%d", count(call), S(ev->name), ev->esmtp);
	return answer(call, "helo");
}

static void
on_tls(struct ga_call *call, const struct ga_ev_tls *ev)
{
	trace(ga_call_inst(call), "tls call=%u version=%.*s", count(call), S(ev->version));
}

static enum ga_verdict
on_mail(struct ga_call *call, const struct ga_ev_mail *ev)
{
	trace(ga_call_inst(call), "mail call=%u from=%.*s params=%zu", count(call), S(ev->from), ev->nparam);
	return answer(call, "mail");
}

static enum ga_verdict
on_rcpt(struct ga_call *call, const struct ga_ev_rcpt *ev)
{
	struct txn *t = (struct txn *)ga_call_state(call, GA_LIFE_TXN);

	t->rcpts++;
	trace(ga_call_inst(call), "rcpt call=%u to=%.*s domain=%.*s relayed=%d", count(call), S(ev->to),
	    S(ev->domain), ev->relayed);
	if (conf_of(call)->every_hook_redirect.n > 0)
		ga_rcpt_redirect(call, conf_of(call)->every_hook_redirect);
	return answer(call, "rcpt");
}

static enum ga_verdict
on_header(struct ga_call *call, const struct ga_ev_header *ev)
{
	const struct every_hook_conf *conf = conf_of(call);

	trace(ga_call_inst(call), "header %u %.*s: %.*s", ev->index, S(ev->name), S(ev->value));
	if (ga_str_caseeq(ev->name, conf->every_hook_drop))
		ga_header_drop(call);
	for (size_t i = 0; i < conf->every_hook_set.n; i++)
		if (ga_str_caseeq(ev->name, conf->every_hook_set.v[i].v[0]))
			ga_header_set(call, conf->every_hook_set.v[i].v[1]);
	return answer(call, "header");
}

static enum ga_verdict
on_body(struct ga_call *call, const struct ga_ev_body *ev)
{
	char *upper;

	if (!conf_of(call)->every_hook_upper)
		return answer(call, "body");
	upper = (char *)ga_alloc(ga_call_pool(call, GA_LIFE_CALL), ev->chunk.n);
	for (size_t i = 0; i < ev->chunk.n; i++) {
		char c = ev->chunk.p[i];

		upper[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
	}
	ga_body_replace(call, (struct ga_str){ upper, ev->chunk.n });
	return answer(call, "body");
}

static void
add_fields(struct ga_call *call, const char *hook)
{
	const struct ga_wordlists *rows = &conf_of(call)->every_hook_add;

	for (size_t i = 0; i < rows->n; i++)
		if (ga_str_eq(rows->v[i].v[0], ga_str_c(hook)))
			ga_header_add(call, rows->v[i].v[1], rows->v[i].v[2], 0);
}

static enum ga_verdict
on_eom(struct ga_call *call, const struct ga_ev_eom *ev)
{
	const struct txn *t = (const struct txn *)ga_call_state(call, GA_LIFE_TXN);

	trace(ga_call_inst(call), "eom size=%" PRIu64 " nrcpt=%u rcpts=%u fields=%zu", ev->size, ev->nrcpt,
	    t->rcpts, ga_header_count(call));
	add_fields(call, "eom");
	ga_note_set(call, "seen", GA_STR("in eom"));
	return answer(call, "eom");
}

static enum ga_verdict
on_queue_commit(struct ga_call *call, const struct ga_ev_commit *ev)
{
	trace(ga_call_inst(call), "queue_commit id=%08x", ev->message_id);
	return answer(call, "queue_commit");
}

static void
on_message_queued(struct ga_call *call, const struct ga_ev_queued *ev)
{
	trace(ga_call_inst(call), "message_queued id=%08x sender=%.*s size=%" PRIu64 " nrcpt=%u",
	    ev->message_id, S(ev->sender), ev->size, ev->nrcpt);
}

/* --- queue and outbound --- */

static uint64_t
wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static enum ga_verdict
on_schedule(struct ga_call *call, const struct ga_ev_schedule *ev)
{
	trace(ga_call_inst(call), "schedule envelope=%016" PRIx64 " domain=%.*s attempts=%u", ev->envelope_id,
	    S(ev->domain), ev->attempts);
	if (conf_of(call)->every_hook_again > 0)
		ga_schedule_set(call, wall_ms() + conf_of(call)->every_hook_again);
	return answer(call, "schedule");
}

static enum ga_verdict
on_route(struct ga_call *call, const struct ga_ev_route *ev)
{
	trace(ga_call_inst(call), "route envelope=%016" PRIx64 " vmta=%.*s domain=%.*s group=%.*s", ev->envelope_id,
	    S(ev->virtual_mta), S(ev->domain), S(ev->group_key));
	if (conf_of(call)->every_hook_route.n > 0)
		ga_route_set(call, conf_of(call)->every_hook_route);
	return answer(call, "route");
}

static enum ga_verdict
on_acquire(struct ga_call *call, const struct ga_ev_throttle *ev)
{
	static __thread unsigned held;		/* holds the first attempt only */
	enum ga_verdict verdict = answer(call, "acquire");

	if (verdict == GA_HOLD && held++ > 0)
		verdict = GA_PASS;
	trace(ga_call_inst(call), "acquire group=%.*s recipients=%u verdict=%d", S(ev->group_key), ev->recipients,
	    (int)verdict);
	ga_retry_after(call, conf_of(call)->every_hook_again);
	return verdict;
}

static void
on_release(struct ga_call *call, const struct ga_ev_throttle *ev)
{
	trace(ga_call_inst(call), "release group=%.*s recipients=%u", S(ev->group_key), ev->recipients);
}

static enum ga_verdict
on_outgoing(struct ga_call *call, const struct ga_ev_outgoing *ev)
{
	struct ga_str note = ga_note_get(call, "seen");

	trace(ga_call_inst(call), "outgoing id=%08x sender=%.*s recipient=%.*s vmta=%.*s nrcpt=%u note=%.*s",
	    ev->message_id, S(ev->sender), S(ev->recipient), S(ev->virtual_mta), ev->nrcpt, S(note));
	add_fields(call, "outgoing");
	return answer(call, "outgoing");
}

static void
connection(struct ga_call *call, const char *what, const struct ga_ev_connection *ev)
{
	trace(ga_call_inst(call), "%s id=%" PRIu64 " local=%.*s remote=%.*s:%u mx=%.*s vmta=%.*s domain=%.*s done=%u tls=%d reason=%.*s",
	    what, ev->id, S(ev->local.text), S(ev->remote.text), ev->remote.port, S(ev->mx_hostname),
	    S(ev->virtual_mta), S(ev->domain), ev->deliveries_done, ev->tls, S(ev->reason));
}

static void
on_opened(struct ga_call *call, const struct ga_ev_connection *ev)
{
	connection(call, "connection_opened", ev);
}

static void
on_saved(struct ga_call *call, const struct ga_ev_connection *ev)
{
	connection(call, "connection_saved", ev);
}

static void
on_reused(struct ga_call *call, const struct ga_ev_connection *ev)
{
	connection(call, "connection_reused", ev);
}

static void
on_closed(struct ga_call *call, const struct ga_ev_connection *ev)
{
	connection(call, "connection_closed", ev);
}

static void
on_line(struct ga_call *call, const struct ga_ev_line *ev)
{
	static const char *const kinds[] = { "in<", "in>", "out>", "out<" };

	trace(ga_call_inst(call), "line %s %.*s", kinds[ev->kind], S(ev->text));
}

static void
on_attempt_done(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	static const char *const outcomes[] = { "delivered", "deferred", "failed" };
	struct ga_str note = ga_note_get(call, "seen");

	trace(ga_call_inst(call), "attempt_done envelope=%016" PRIx64 " sender=%.*s recipient=%.*s domain=%.*s outcome=%s code=%u "
	    "enhanced=%.*s mx_ip=%.*s source_ip=%.*s vmta=%.*s group=%.*s attempts=%u note=%.*s text=%.*s",
	    ev->envelope_id, S(ev->sender), S(ev->recipient), S(ev->domain), outcomes[ev->outcome], ev->code,
	    S(ev->enhanced), S(ev->mx_ip), S(ev->source_ip), S(ev->virtual_mta), S(ev->group_key), ev->attempts,
	    S(note), S(ev->text));
}

/* --- life --- */

static bool
check(const void *conf, struct ga_diag *diag)
{
	const struct every_hook_conf *c = (const struct every_hook_conf *)conf;

	for (size_t i = 0; i < c->every_hook_answer.n; i++)
		if (ga_str_eq(c->every_hook_answer.v[i].v[0], GA_STR("nonsense")))
			ga_diag_error(diag, "every_hook_answer", "there is no hook nonsense");
	return true;
}

static bool
init(struct ga_inst *inst, const void *conf)
{
	const struct every_hook_conf *c = (const struct every_hook_conf *)conf;
	struct instance *me = (struct instance *)ga_inst_state(inst);

	me->trace = -1;
	if (c->every_hook_trace.n == 0)
		return true;
	me->trace = open(ga_cstr(ga_inst_pool(inst), c->every_hook_trace), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (me->trace < 0) {
		ga_log(inst, GA_ERR, "EXAMPLE-0002", "%.*s cannot be opened", S(c->every_hook_trace));
		return false;
	}
	trace(inst, "init");
	return true;
}

static void
adopt(struct ga_inst *now, struct ga_inst *before)
{
	trace(now, "adopt of=%d", now != before);
}

static void
drain(struct ga_inst *inst, struct ga_worker *w, uint64_t until_ms)
{
	(void)w;
	(void)until_ms;
	trace(inst, "drain");
}

static void
fini(struct ga_inst *inst)
{
	const struct instance *me = (const struct instance *)ga_inst_state(inst);

	trace(inst, "fini");
	if (me->trace >= 0)
		close(me->trace);
}

static void
session_end(struct ga_inst *inst, struct ga_session *session, void *state, enum ga_end end)
{
	(void)session;
	trace(inst, "session_end calls=%u end=%d", ((struct session *)state)->calls, (int)end);
}

static void
txn_end(struct ga_inst *inst, struct ga_txn *txn, void *state, enum ga_end end)
{
	(void)txn;
	trace(inst, "txn_end rcpts=%u end=%d", ((struct txn *)state)->rcpts, (int)end);
}

#define EVERY_HOOK_HOOKS(X)								\
	X(connect, on_connect) X(helo, on_helo) X(tls, on_tls) X(mail, on_mail)		\
	X(rcpt, on_rcpt) X(header, on_header) X(body, on_body) X(eom, on_eom)		\
	X(queue_commit, on_queue_commit) X(message_queued, on_message_queued)		\
	X(schedule, on_schedule) X(route, on_route) X(acquire, on_acquire)		\
	X(release, on_release) X(outgoing, on_outgoing)					\
	X(connection_opened, on_opened) X(connection_saved, on_saved)			\
	X(connection_reused, on_reused) X(connection_closed, on_closed)			\
	X(line, on_line) X(attempt_done, on_attempt_done)

GA_MODULE(every_hook, "1.0.0", "smtp_service ip_address relay_server domain", EVERY_HOOK_HOOKS,
	EVERY_HOOK_DIRECTIVES,
	.summary = "Example: uses every hook",
	.conf = &every_hook_conf_schema,
	.inst_size = sizeof(struct instance),
	.session_size = sizeof(struct session),
	.txn_size = sizeof(struct txn),
	.check = check,
	.init = init,
	.fini = fini,
	.adopt = adopt,
	.drain = drain,
	.session_end = session_end,
	.txn_end = txn_end);
