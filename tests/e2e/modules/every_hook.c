/*
 * every_hook.c - a module that uses every hook: the example for authors, and the
 * end-to-end proof that each hook works (tests/e2e/test_modules.py).
 *
 * Of level stable: it includes <greenarrow/greenarrow.h> alone and is built outside
 * the tree, as any module of somebody else:
 *
 *	cc -fPIC -shared $(pkg-config --cflags greenarrow) -o every_hook.so every_hook.c
 *
 * Its directives say what the hooks do.  every_hook_trace names a file; each call
 * appends one line to it: the hook's name and the fields of its event.
 *
 * Read it from the end: GA_MODULE ties name, hooks, directives and life together.
 * Known limit: check() sees what stands in the general block only.
 */
#define _GNU_SOURCE
#include <greenarrow/greenarrow.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define ANYWHERE "general,smtp_service,ip_address,relay_server,domain"

#define EVERY_HOOK_DIRECTIVES(X)								\
	X(path, every_hook_trace, "", "", "general", "File that gets a line a call")		\
	X(table, every_hook_answer, "", "words=2- repeat", ANYWHERE,				\
	    "HOOK VERDICT [CODE ENHANCED TEXT]: what the hook answers")				\
	X(duration, every_hook_after, "0", "max=1h", ANYWHERE, "Answer so much later")		\
	X(duration, every_hook_limit, "2s", "min=1ms max=1h", ANYWHERE,				\
	    "How long an answer of `never` is waited for")					\
	X(choice, every_hook_wait, "timer", "oneof=timer|work|descriptor|dns", ANYWHERE,	\
	    "What is waited for until then")							\
	X(domain, every_hook_question, "", "", ANYWHERE, "Name whose address DNS is asked for")	\
	X(table, every_hook_edit, "", "words=2-4 repeat", ANYWHERE,				\
	    "HOOK add|set NAME VALUE, HOOK drop NAME, HOOK text TEXT, body upper: an edit")	\
	X(string, every_hook_only, "", "", ANYWHERE, "The one recipient that rcpt answers about")	\
	X(string, every_hook_redirect, "", "", ANYWHERE, "Recipient to use instead")		\
	X(string, every_hook_route, "", "", ANYWHERE, "VirtualMTA to use instead")		\
	X(flag, every_hook_octets, "no", "", ANYWHERE, "Ask for bytes too")			\
	X(flag, every_hook_leave, "no", "", "smtp_service", "Leave each session in connect")	\
	X(duration, every_hook_again, "0", "", ANYWHERE,					\
	    "When a deferred or held attempt is to be tried again")

GA_CONF_STRUCT(every_hook_conf, EVERY_HOOK_DIRECTIVES);
#define GA_CF_SELF_ struct every_hook_conf
GA_CONF_SCHEMA(every_hook_conf, EVERY_HOOK_DIRECTIVES);

enum wait_for { TIMER, WORK, DESCRIPTOR, DNS };	/* the words of every_hook_wait, in order */

/* Lifetimes: instance, loop of an instance, session, transaction, outgoing connection. */
struct instance {
	int trace;
};
struct worker {
	int timer;			/* a timerfd */
	bool held;			/* acquire: only the first attempt is */
};
struct session {
	unsigned calls;			/* hooks of this session so far */
};
struct txn {
	unsigned rcpts;
};
struct connection {
	unsigned calls;			/* hooks of connection_* so far */
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
	for (int i = 0; i < n; i++)
		if (line[i] == '\r' || line[i] == '\n')
			line[i] = '|';
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

static const struct { const char *word; enum ga_verdict verdict; } words[] = {
	{ "pass", GA_PASS }, { "accept", GA_ACCEPT }, { "tempfail", GA_TEMPFAIL },
	{ "reject", GA_REJECT }, { "discard", GA_DISCARD }, { "hold", GA_HOLD },
	{ "close", GA_CLOSE },
	/* what else may happen to a hook */
	{ "fail", GA_PASS }, { "never", GA_PASS }
};

static bool
verdict_of(struct ga_str word, enum ga_verdict *verdict)
{
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (ga_str_eq(word, ga_str_c(words[i].word))) {
			*verdict = words[i].verdict;
			return true;
		}
	return false;
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
	enum ga_verdict verdict = GA_PASS;

	if (row->n > 3) {
		for (size_t i = 4; i < row->n; i++)
			text = ga_fmt(pool, "%.*s%s%.*s", S(text), i > 4 ? " " : "", S(row->v[i]));
		ga_reply(call, (unsigned)strtoul(ga_cstr(pool, row->v[2]), NULL, 10),
		    ga_cstr(pool, row->v[3]), "%.*s", S(text));
	}
	verdict_of(row->v[1], &verdict);
	return verdict;
}

/* --- answers that take time --- */

static enum ga_verdict
later(struct ga_call *call, void *arg)
{
	return answer_now(call, (const struct ga_strlist *)arg);
}

/* On a helper thread.  The call may be over by then, and with it the configuration
 * that arg points into: only resume looks there. */
static void
work(void *arg)
{
	const struct timespec some = { 0, 300000000 };

	(void)arg;
	nanosleep(&some, NULL);
}

static enum ga_verdict
readable(struct ga_call *call, void *arg)
{
	trace(ga_call_inst(call), "descriptor events=%u", ga_fd_events(call));
	return later(call, arg);
}

static enum ga_verdict
await_descriptor(struct ga_call *call, uint64_t ms, void *arg)
{
	const struct worker *me = (const struct worker *)ga_worker_state(ga_call_inst(call), ga_call_worker(call));
	const struct itimerspec when = { { 0, 0 }, { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 } };

	if (timerfd_settime(me->timer, 0, &when, NULL) != 0)
		return ga_fail(call, "timerfd: %s", strerror(errno));
	return ga_await_fd(call, me->timer, GA_READ, (uint32_t)ms * 10, readable, arg);
}

static enum ga_verdict
resolved(struct ga_call *call, void *arg)
{
	const struct ga_dns_answer *found = ga_dns_result(call);

	if (found == NULL)
		return ga_fail(call, "DNS gave no answer");
	trace(ga_call_inst(call), "dns rcode=%d addresses=%zu", found->rcode, found->n);
	return later(call, arg);
}

static enum ga_verdict
answer_later(struct ga_call *call, const struct ga_strlist *row)
{
	const struct every_hook_conf *conf = conf_of(call);
	void *arg = (void *)(uintptr_t)row;

	switch ((enum wait_for)conf->every_hook_wait) {
	case TIMER:
		break;
	case WORK:
		return ga_await_work(call, work, later, arg);
	case DESCRIPTOR:
		return await_descriptor(call, conf->every_hook_after, arg);
	case DNS:
		return ga_await_dns(call, conf->every_hook_question, 1, resolved, arg);
	}
	return ga_await_timer(call, (uint32_t)conf->every_hook_after, later, arg);
}

/* What `cancelled` needs: the call is of no use there.  In the call's pool, which lives that long. */
struct asked {
	struct ga_inst *inst;
	const char *hook;
};

static void
gone(void *arg, enum ga_why why)
{
	const struct asked *asked = (const struct asked *)arg;

	trace(asked->inst, "cancelled hook=%s why=%d", asked->hook, (int)why);
}

/* Nobody keeps the token, so nobody can resume it. */
static enum ga_verdict
never(struct ga_call *call, const char *hook)
{
	struct asked *asked = (struct asked *)ga_alloc(ga_call_pool(call, GA_LIFE_CALL), sizeof *asked);
	const struct ga_wait wait = { .size = sizeof wait,
		.timeout_ms = (uint32_t)conf_of(call)->every_hook_limit,
		.label = "an answer that never comes", .cancelled = gone, .arg = asked };

	*asked = (struct asked){ ga_call_inst(call), hook };
	return ga_suspend(call, &wait, NULL);
}

/* Now, after every_hook_after, never, or not at all. */
static enum ga_verdict
answer(struct ga_call *call, const char *hook)
{
	const struct ga_strlist *row = row_of(call, hook);

	if (row == NULL)
		return GA_PASS;
	if (ga_str_eq(row->v[1], GA_STR("never")))
		return never(call, hook);
	if (ga_str_eq(row->v[1], GA_STR("fail")))
		return ga_fail(call, "%s fails, as it was told to", hook);
	if (conf_of(call)->every_hook_after > 0)
		return answer_later(call, row);
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
	trace(ga_call_inst(call), "connect call=%u peer=%.*s local=%.*s:%u service=%.*s tls=%d", count(call),
	    S(ev->peer.text), S(ev->local.text), ev->local.port, S(ev->service), ev->tls);
	if (conf_of(call)->every_hook_leave)
		ga_session_leave(call);
	return answer(call, "connect");
}

static enum ga_verdict
on_helo(struct ga_call *call, const struct ga_ev_helo *ev)
{
	trace(ga_call_inst(call), "helo call=%u name=%.*s esmtp=%d", count(call), S(ev->name), ev->esmtp);
	return answer(call, "helo");
}

static enum ga_verdict
on_auth(struct ga_call *call, const struct ga_ev_auth *ev)
{
	trace(ga_call_inst(call), "auth call=%u mechanism=%.*s user=%.*s password=%.*s", count(call), S(ev->mechanism),
	    S(ev->user), S(ev->password));
	return answer(call, "auth");
}

static void
on_tls(struct ga_call *call, const struct ga_ev_tls *ev)
{
	trace(ga_call_inst(call), "tls call=%u version=%.*s cipher=%.*s verified=%d", count(call), S(ev->version),
	    S(ev->cipher), ev->verified);
}

static enum ga_verdict
on_mail(struct ga_call *call, const struct ga_ev_mail *ev)
{
	struct ga_str params = { "", 0 };

	for (size_t i = 0; i < ev->nparam; i++)
		params = ga_fmt(ga_call_pool(call, GA_LIFE_CALL), "%.*s%s%.*s:%.*s", S(params), i > 0 ? "," : "",
		    S(ev->param[i].key), S(ev->param[i].value));
	trace(ga_call_inst(call), "mail call=%u from=%.*s params=%.*s", count(call), S(ev->from), S(params));
	return answer(call, "mail");
}

static enum ga_verdict
on_rcpt(struct ga_call *call, const struct ga_ev_rcpt *ev)
{
	struct txn *t = (struct txn *)ga_call_state(call, GA_LIFE_TXN);
	struct ga_str only = conf_of(call)->every_hook_only;

	t->rcpts++;
	trace(ga_call_inst(call), "rcpt call=%u to=%.*s domain=%.*s relayed=%d", count(call), S(ev->to),
	    S(ev->domain), ev->relayed);
	if (conf_of(call)->every_hook_redirect.n > 0)
		ga_rcpt_redirect(call, conf_of(call)->every_hook_redirect);
	if (only.n > 0 && !ga_str_eq(only, ev->to))
		return GA_PASS;
	return answer(call, "rcpt");
}

/* --- edits --- */

/* The next row of every_hook_edit that is for this hook, from row *i on; NULL: no more. */
static const struct ga_strlist *
next_edit(struct ga_call *call, const char *hook, size_t *i)
{
	const struct ga_wordlists *rows = &conf_of(call)->every_hook_edit;

	while (*i < rows->n) {
		const struct ga_strlist *row = &rows->v[(*i)++];

		if (ga_str_eq(row->v[0], ga_str_c(hook)))
			return row;
	}
	return NULL;
}

static bool
does(const struct ga_strlist *row, const char *what, size_t n)
{
	return row->n == n && ga_str_eq(row->v[1], ga_str_c(what));
}

/* One edit of a whole message, in eom or outgoing. */
static bool
edit_message(struct ga_call *call, const struct ga_strlist *row)
{
	long at;

	if (does(row, "add", 4))
		return ga_header_add(call, row->v[2], row->v[3], 0);
	if (does(row, "text", 3))
		return ga_body_replace_all(call, row->v[2]);
	at = ga_header_find(call, row->v[2], 0);
	if (at < 0)
		return false;
	return does(row, "set", 4) ? ga_header_set_at(call, (size_t)at, row->v[3]) :
	    does(row, "drop", 3) && ga_header_drop_at(call, (size_t)at);
}

static void
edit(struct ga_call *call, const char *hook)
{
	const struct ga_strlist *row;

	for (size_t i = 0; (row = next_edit(call, hook, &i)) != NULL;)
		if (!edit_message(call, row))
			trace(ga_call_inst(call), "refused %s %.*s", hook, S(row->v[1]));
}

/* How much ga_msg_read() gives. */
static size_t
readable_octets(struct ga_call *call)
{
	char piece[1000];
	size_t total = 0, n;

	while ((n = ga_msg_read(call, total, piece, sizeof piece)) > 0)
		total += n;
	return total;
}

static enum ga_verdict
on_header(struct ga_call *call, const struct ga_ev_header *ev)
{
	const struct ga_strlist *row;

	trace(ga_call_inst(call), "header %u %.*s: %.*s", ev->index, S(ev->name), S(ev->value));
	for (size_t i = 0; (row = next_edit(call, "header", &i)) != NULL;) {
		if (!ga_str_caseeq(ev->name, row->v[2]))
			continue;
		if (does(row, "drop", 3))
			ga_header_drop(call);
		else if (does(row, "set", 4))
			ga_header_set(call, row->v[3]);
	}
	return answer(call, "header");
}

static void
in_capitals(struct ga_call *call, struct ga_str text)
{
	char *upper = (char *)ga_alloc(ga_call_pool(call, GA_LIFE_CALL), text.n);

	for (size_t i = 0; i < text.n; i++)
		upper[i] = (char)toupper((unsigned char)text.p[i]);
	ga_body_replace(call, (struct ga_str){ upper, text.n });
}

static enum ga_verdict
on_body(struct ga_call *call, const struct ga_ev_body *ev)
{
	const struct ga_strlist *row;

	trace(ga_call_inst(call), "body offset=%" PRIu64 " size=%zu begin=%.*s", ev->offset, ev->chunk.n,
	    (int)(ev->chunk.n < 20 ? ev->chunk.n : 20), ev->chunk.p);
	for (size_t i = 0; (row = next_edit(call, "body", &i)) != NULL;) {
		if (does(row, "upper", 2))
			in_capitals(call, ev->chunk);
		else if (does(row, "text", 3))
			ga_body_replace(call, row->v[2]);
	}
	return answer(call, "body");
}

static enum ga_verdict
on_eom(struct ga_call *call, const struct ga_ev_eom *ev)
{
	const struct txn *t = (const struct txn *)ga_call_state(call, GA_LIFE_TXN);

	trace(ga_call_inst(call), "eom size=%" PRIu64 " read=%zu nrcpt=%u rcpts=%u fields=%zu", ev->size,
	    readable_octets(call), ev->nrcpt, t->rcpts, ga_header_count(call));
	edit(call, "eom");
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
	trace(ga_call_inst(call), "schedule envelope=%016" PRIx64 " sender=%.*s recipient=%.*s domain=%.*s attempts=%u "
	    "next_in=%" PRIu64 " life=%" PRIu64, ev->envelope_id, S(ev->sender), S(ev->recipient), S(ev->domain),
	    ev->attempts, ev->next_ms - wall_ms(), ev->expires_ms - ev->accepted_ms);
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
	struct worker *me = (struct worker *)ga_worker_state(ga_call_inst(call), ga_call_worker(call));
	enum ga_verdict verdict = answer(call, "acquire");

	if (verdict == GA_HOLD && me->held)
		verdict = GA_PASS;
	me->held = me->held || verdict == GA_HOLD;
	trace(ga_call_inst(call), "acquire group=%.*s vmta=%.*s domain=%.*s recipients=%u verdict=%d", S(ev->group_key),
	    S(ev->virtual_mta), S(ev->domain), ev->recipients, (int)verdict);
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

	trace(ga_call_inst(call), "outgoing id=%08x sender=%.*s recipient=%.*s domain=%.*s vmta=%.*s size=%" PRIu64
	    " nrcpt=%u note=%.*s", ev->message_id, S(ev->sender), S(ev->recipient), S(ev->domain),
	    S(ev->virtual_mta), ev->size, ev->nrcpt, S(note));
	edit(call, "outgoing");
	return answer(call, "outgoing");
}

static void
connection(struct ga_call *call, const char *what, const struct ga_ev_connection *ev)
{
	struct connection *kept = (struct connection *)ga_call_state(call, GA_LIFE_CONNECTION);

	kept->calls++;
	trace(ga_call_inst(call), "%s id=%" PRIu64 " local=%.*s remote=%.*s:%u mx=%.*s vmta=%.*s domain=%.*s "
	    "group=%.*s done=%u tls=%d reason=%.*s", what, ev->id, S(ev->local.text), S(ev->remote.text),
	    ev->remote.port, S(ev->mx_hostname), S(ev->virtual_mta), S(ev->domain), S(ev->group_key),
	    ev->deliveries_done, ev->tls, S(ev->reason));
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
on_failed(struct ga_call *call, const struct ga_ev_connection *ev)
{
	connection(call, "connection_failed", ev);
}

static void
on_connection_tls(struct ga_call *call, const struct ga_ev_connection *ev)
{
	connection(call, "connection_tls", ev);
	trace(ga_call_inst(call), "connection_encrypted id=%" PRIu64 " version=%.*s cipher=%.*s verified=%d", ev->id,
	    S(ev->tls_version), S(ev->tls_cipher), ev->verified);
}

static const char *const kinds[] = { "in<", "in>", "out>", "out<" };

/* Secrets are counted, not written. */
static void
on_bytes(struct ga_call *call, const struct ga_ev_bytes *ev)
{
	struct ga_pool *pool = ga_call_pool(call, GA_LIFE_CALL);
	char *hex = (char *)ga_alloc(pool, 2 * ev->octets.n + 2);

	for (size_t i = 0; !ev->secret && i < ev->octets.n; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)ev->octets.p[i]);
	if (ev->secret)
		hex[0] = '-';
	trace(ga_call_inst(call), "bytes %s session=%" PRIu64 " content=%d n=%zu hex=%s", kinds[ev->kind], ev->session_id,
	    ev->content, ev->octets.n, hex);
}

static void
on_disconnect(struct ga_call *call, const struct ga_ev_disconnect *ev)
{
	trace(ga_call_inst(call), "disconnect session=%" PRIu64 " messages=%u tls=%d reason=%.*s", ev->session_id, ev->messages,
	    ev->tls, S(ev->reason));
}

static void
on_line(struct ga_call *call, const struct ga_ev_line *ev)
{
	trace(ga_call_inst(call), "line %s %.*s session=%" PRIu64, kinds[ev->kind], S(ev->text), ev->session_id);
}

/* Stage and reply have no place in attempt_done's line, which has the text at its end. */
static enum ga_verdict
on_result(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	trace(ga_call_inst(call), "result envelope=%016" PRIx64 " recipient=%.*s outcome=%d code=%u stage=%d reply=%.*s",
	    ev->envelope_id, S(ev->recipient), (int)ev->outcome, ev->code, (int)ev->stage, S(ev->reply));
	return answer(call, "result");
}

static void
on_attempt_done(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	static const char *const outcomes[] = { "delivered", "deferred", "failed" };
	struct ga_str note = ga_note_get(call, "seen");

	trace(ga_call_inst(call), "attempt_done envelope=%016" PRIx64 " connection=%" PRIu64 " sender=%.*s recipient=%.*s "
	    "domain=%.*s outcome=%s code=%u enhanced=%.*s mx=%.*s mx_ip=%.*s source_ip=%.*s vmta=%.*s group=%.*s "
	    "attempts=%u size=%" PRIu64 " connect_ms=%u total_ms=%u tls=%d note=%.*s text=%.*s",
	    ev->envelope_id, ev->connection_id, S(ev->sender), S(ev->recipient), S(ev->domain), outcomes[ev->outcome],
	    ev->code, S(ev->enhanced), S(ev->mx_hostname), S(ev->mx_ip), S(ev->source_ip), S(ev->virtual_mta),
	    S(ev->group_key), ev->attempts, ev->size, ev->connect_ms, ev->total_ms, ev->tls, S(note), S(ev->text));
}

static void
on_attempt_failed(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	trace(ga_call_inst(call), "attempt_failed envelope=%016" PRIx64 " outcome=%d code=%u", ev->envelope_id, (int)ev->outcome,
	    ev->code);
}

/* --- life --- */

#define EVERY_HOOK_HOOKS(X)								\
	X(connect, on_connect) X(helo, on_helo) X(tls, on_tls) X(mail, on_mail)		\
	X(rcpt, on_rcpt) X(header, on_header) X(body, on_body) X(eom, on_eom)		\
	X(queue_commit, on_queue_commit) X(message_queued, on_message_queued)		\
	X(schedule, on_schedule) X(route, on_route) X(acquire, on_acquire)		\
	X(release, on_release) X(outgoing, on_outgoing)					\
	X(connection_opened, on_opened) X(connection_saved, on_saved)			\
	X(connection_reused, on_reused) X(connection_closed, on_closed)			\
	X(line, on_line) X(attempt_done, on_attempt_done) X(auth, on_auth)		\
	X(result, on_result) X(connection_failed, on_failed)				\
	X(connection_tls, on_connection_tls) X(bytes, on_bytes)				\
	X(disconnect, on_disconnect) X(attempt_failed, on_attempt_failed)

#define NAME_OF(hook, fn) #hook,
static const char *const hook_names[] = { EVERY_HOOK_HOOKS(NAME_OF) };

static bool
is_hook(struct ga_str name)
{
	for (size_t i = 0; i < sizeof hook_names / sizeof hook_names[0]; i++)
		if (ga_str_eq(name, ga_str_c(hook_names[i])))
			return true;
	return false;
}

/* What the columns of the directives cannot say. */
static bool
check(const void *conf, struct ga_diag *diag)
{
	const struct ga_wordlists *rows = &((const struct every_hook_conf *)conf)->every_hook_answer;
	enum ga_verdict verdict;
	bool fine = true;

	for (size_t i = 0; i < rows->n; i++) {
		const struct ga_str *word = rows->v[i].v;

		if (!is_hook(word[0]))
			ga_diag_error(diag, "every_hook_answer", "there is no hook %.*s", S(word[0]));
		else if (!verdict_of(word[1], &verdict))
			ga_diag_error(diag, "every_hook_answer", "there is no verdict %.*s", S(word[1]));
		else
			continue;
		fine = false;
	}
	return fine;
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

static bool
start(struct ga_inst *inst, struct ga_worker *w)
{
	struct worker *me = (struct worker *)ga_worker_state(inst, w);

	me->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (me->timer < 0)
		ga_log(inst, GA_ERR, "EXAMPLE-0003", "timerfd: %s", strerror(errno));
	return me->timer >= 0;
}

static void
stop(struct ga_inst *inst, struct ga_worker *w)
{
	close(((const struct worker *)ga_worker_state(inst, w))->timer);
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

static void
connection_end(struct ga_inst *inst, void *state)
{
	trace(inst, "connection_end calls=%u", ((struct connection *)state)->calls);
}

/* Octets are many: they are told where the module's own directive asks for them. */
static bool
wants_hook(const void *conf, enum ga_scope scope, const char *hook)
{
	(void)scope;
	return strcmp(hook, "bytes") != 0 || ((const struct every_hook_conf *)conf)->every_hook_octets;
}

GA_MODULE(every_hook, "1.0.0", "smtp_service ip_address relay_server domain", EVERY_HOOK_HOOKS,
	EVERY_HOOK_DIRECTIVES,
	.summary = "Example: uses every hook",
	.conf = &every_hook_conf_schema,
	.inst_size = sizeof(struct instance),
	.worker_size = sizeof(struct worker),
	.session_size = sizeof(struct session),
	.txn_size = sizeof(struct txn),
	.on_failure = GA_TEMPFAIL,	/* what a late or failed answer means; the default */
	.check = check,
	.init = init,
	.fini = fini,
	.adopt = adopt,
	.start = start,
	.drain = drain,
	.stop = stop,
	.session_end = session_end,
	.txn_end = txn_end,
	.connection_size = sizeof(struct connection),
	.connection_end = connection_end,
	.wants_hook = wants_hook);
