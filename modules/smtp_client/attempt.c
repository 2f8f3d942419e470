/*
 * attempt.c - what modules are asked and told of attempts that end: hooks `result`,
 * `attempt_done` and `attempt_failed`.
 *
 * Called by result.c for tickets that all have a result, on the connection's loop,
 * before the throttle, the spool and the queue learn of it: what a module makes of a
 * result is the result.  Also decides whose sender we tell of a success, for that
 * depends on it.  A recalled ticket was no attempt and is left alone.
 */
#include "client.h"

#include <stdlib.h>
#include <string.h>

/* Of a line of a reply: what goes behind the line before it, without code and the enhanced
 * code that was said already. */
static struct ga_str
continued(struct ga_str line, struct ga_str enhanced)
{
	line.p += line.n < 4 ? line.n : 4;
	line.n -= line.n < 4 ? line.n : 4;
	if (enhanced.n > 0 && line.n >= enhanced.n && memcmp(line.p, enhanced.p, enhanced.n) == 0) {
		line.p += enhanced.n;
		line.n -= enhanced.n;
	}
	return ga_str_trim(line);
}

/* A reply in one line: its code once, then its texts with blanks between. */
static struct ga_str
one_line(const struct ga_ticket *t, char buf[GA_REPLY_TEXT])
{
	struct ga_str reply = ga_str_c(t->text);
	const char *lf = memchr(reply.p, '\n', reply.n);
	size_t n = lf != NULL ? (size_t)(lf - reply.p) : 0;

	if (lf == NULL || reply.n > GA_REPLY_TEXT)
		return reply;
	memcpy(buf, reply.p, n);
	if (t->code != 0 && n > 3)
		buf[3] = ' ';
	for (const char *p = lf + 1, *end = reply.p + reply.n; p <= end; p = lf + 1) {
		struct ga_str more;

		lf = memchr(p, '\n', (size_t)(end - p));
		lf = lf != NULL ? lf : end;
		more = continued((struct ga_str){ p, (size_t)(lf - p) }, ga_str_c(t->enhanced));
		if (more.n == 0)
			continue;
		buf[n++] = ' ';		/* where the LF was, at the latest */
		memcpy(buf + n, more.p, more.n);
		n += more.n;
	}
	return (struct ga_str){ buf, n };
}

/* What is known of an attempt, with room for what must be written down for it. */
struct attempt {
	struct ga_ev_attempt ev;
	struct ga_run run;
	char remote[GA_SOCKADDR_TEXT], source[GA_SOCKADDR_TEXT], line[GA_REPLY_TEXT], offer[SMTPC_OFFER_TEXT];
};

static void
put_connection(struct attempt *a, struct smtpc_conn *c, const struct ga_ticket *t)
{
	struct ga_ev_attempt *ev = &a->ev;

	ev->connection_id = c->id;
	ev->mx_hostname = ga_str_c(c->mx);
	ev->mx_ip = smtpc_addr(&c->remote, a->remote).text;
	ev->source_ip = smtpc_addr(c->local.len > 0 ? &c->local : &smtpc_source(c)->address, a->source).text;
	ev->source_hostname = smtpc_source(c)->hostname;
	ev->extensions = smtpc_offer_text(&c->offer, a->offer);
	ev->connect_ms = (uint32_t)(c->connected_ms > 0 ? c->connected_ms - c->start_ms : 0);
	ev->total_ms = (uint32_t)(ga_now_ms(c->loop->worker) - c->txn.begun_ms);
	ev->tls = c->tls;
	ev->reply = t->code != 0 ? ga_str_c(t->text) : GA_STR("");
	memcpy(ev->phase_ms, c->phase_ms, sizeof ev->phase_ms);
}

static void
describe(struct attempt *a, struct smtpc_conn *c, struct ga_message *m, const struct ga_ticket *t)
{
	a->run = (struct ga_run){ .worker = c->loop->worker, .settings = c->route->settings,
		.message = m, .connection = &c->kept, .object_id = c->id };
	a->ev = ga_ticket_attempt(t, m);
	a->ev.text = one_line(t, a->line);
	put_connection(a, c, t);
}

/* What modules have made of it. */
static void
put_result(struct attempt *a, const struct ga_ticket *t)
{
	a->ev.status = ga_ticket_status(t);
	a->ev.outcome = ga_status_outcome(a->ev.status);
	a->ev.code = t->code;
	a->ev.enhanced = ga_str_c(t->enhanced);
	a->ev.text = one_line(t, a->line);
}

/* While they are asked the last deferral is one. */
static void
put_question(struct attempt *a)
{
	if (a->ev.status != GA_STATUS_FAILURE_TOOLONG)
		return;
	a->ev.status = GA_STATUS_DEFERRAL;
	a->ev.outcome = GA_DEFERRED;
}

/* Other words than the host's take the place of its reply. */
static void
amend_text(struct ga_ticket *t, const struct ga_reply *reply)
{
	t->code = reply->code;
	memcpy(t->enhanced, reply->enhanced, sizeof t->enhanced);
	t->text = smtpc_strdup(ga_str_c(reply->text));
	free(t->mx);
	t->mx = NULL;
}

static bool
amend(struct ga_ticket *t, enum ga_verdict verdict)
{
	switch (verdict) {
	case GA_ACCEPT: t->result = GA_RESULT_SUCCESS; break;
	case GA_TEMPFAIL: t->result = GA_RESULT_DEFERRAL; break;
	case GA_REJECT: t->result = GA_RESULT_FAILURE; break;
	default: return false;
	}
	return true;
}

/* Asks and tells; whether the words are still the host's. */
static bool
settle(struct smtpc_conn *c, struct ga_message *m, struct ga_ticket *t)
{
	char *said = t->text;		/* the event's reply points there */
	struct attempt a;

	describe(&a, c, m, t);
	put_question(&a);
	if (GA_WANTED(c->plan, result) &&
	    amend(t, ga_run_hook(&a.run, GA_HOOK_result, &a.ev)) && a.run.reply.text[0] != '\0')
		amend_text(t, &a.run.reply);
	put_result(&a, t);
	if (GA_WANTED(c->plan, attempt_done))
		ga_run_hook(&a.run, GA_HOOK_attempt_done, &a.ev);
	if (GA_WANTED(c->plan, attempt_failed) && t->result != GA_RESULT_SUCCESS)
		ga_run_hook(&a.run, GA_HOOK_attempt_failed, &a.ev);
	if (said == t->text)
		return t->code != 0;
	free(said);
	return false;
}

/* Whose sender is to be told of the success: by us, when the host does not do it. */
static bool
to_be_told(const struct ga_message *m, const struct ga_ticket *t)
{
	const struct ga_envelope *e = smtpc_envelope(m, t);
	uint32_t notify = e != NULL ? ga_attr_u32(e->attrs, GA_ATTR_NOTIFY, 0) : 0;

	return (t->flags & GA_TICKET_REPORT) != 0 || (notify & GA_NOTIFY_SUCCESS) != 0;
}

void
smtpc_attempts_end(struct smtpc_conn *c, struct ga_ticket *first)
{
	bool heard = GA_WANTED(c->plan, result) || GA_WANTED(c->plan, attempt_done);
	bool failures_heard = heard || GA_WANTED(c->plan, attempt_failed);

	if (failures_heard)
		smtpc_phase_spend(c);
	for (struct ga_ticket *t = first; t != NULL; t = t->next) {
		struct ga_message *m = c->txn.message != NULL ? c->txn.message : t->message;
		bool host_tells = c->txn.dsn && t->result == GA_RESULT_SUCCESS, its_words = t->code != 0;

		if (t->result == GA_RESULT_RECALLED)
			continue;
		if (t->result == GA_RESULT_SUCCESS ? heard : failures_heard)
			its_words = settle(c, m, t);
		t->relayed = t->result == GA_RESULT_SUCCESS && !host_tells && m != NULL && to_be_told(m, t);
		if (t->mx == NULL && its_words && (t->relayed || t->result != GA_RESULT_SUCCESS))
			t->mx = smtpc_strdup(ga_str_c(c->mx));
	}
}
