/*
 * commit.c - from the end of data to the reply.
 *
 * Called by data.c and cmd_bdat.c when the end has come, and by hooks and intake with
 * their answers, on the session's loop.  250 is said only in intake's callback,
 * when the message is on stable storage; whoever goes away before it does not
 * stop the message.
 */
#include <string.h>

#include <greenarrow/injection.h>

#include "headers.h"
#include "params.h"
#include "variables.h"

/* --- our Received field --- */

static struct ga_str
today(struct smtpd_worker *w)
{
	time_t now = (time_t)(ga_wall_ms() / 1000);

	if (w->date_n == 0 || now != w->date_of) {
		w->date_n = ga_mail_date(now, w->date);
		w->date_of = now;
	}
	return (struct ga_str){ w->date, w->date_n };
}

/* RFC 3848, RFC 6531 4.3 */
static struct ga_str
protocol(const struct smtpd_session *s)
{
	static const struct ga_str names[2][2][2] = {
		{ { GA_STR("ESMTP"), GA_STR("ESMTPA") }, { GA_STR("ESMTPS"), GA_STR("ESMTPSA") } },
		{ { GA_STR("UTF8SMTP"), GA_STR("UTF8SMTPA") }, { GA_STR("UTF8SMTPS"), GA_STR("UTF8SMTPSA") } },
	};
	bool utf8 = (s->txn->flags & GA_MSG_SMTPUTF8) != 0;

	return s->esmtp ? names[utf8][s->tls][s->user.n > 0] : GA_STR("SMTP");
}

static struct ga_str
received(struct smtpd_session *s)
{
	struct ga_txn *t = s->txn;

	if (t->id == 0)
		t->id = s->w->intake->reserve_id(s->w->loop);
	return smtpd_trace_field(t->pool, &(struct smtpd_trace){
		.helo = s->helo,
		.client = ga_str_c(s->peer_text),
		.client_is_ipv6 = memchr(s->peer_text, ':', strlen(s->peer_text)) != NULL,
		.hides = smtpd_variables_hide(s),
		.hostname = ga_str_c(ga_hostname()),
		.with = protocol(s),
		.id = t->id,
		.only_rcpt = t->nrcpts == 1 ? t->rcpts[0].to : (struct ga_str){ NULL, 0 },
		.date = today(s->w),
	});
}

struct ga_str
smtpd_trace(struct smtpd_session *s)
{
	struct ga_txn *t = s->txn;
	struct ga_str field = received(s), missing;

	if (!s->gen->conf->add_missing_headers)
		return field;
	missing = smtpd_header_missing(t->pool,
	    smtpd_header_look(t->body, t->header_size), today(s->w), ga_hostname(), t->id, ga_wall_ms());
	return missing.n == 0 ? field : ga_fmt(t->pool, "%.*s%.*s", (int)field.n, field.p,
	    (int)missing.n, missing.p);
}

/* --- replies --- */

static void
say_queued(struct smtpd_session *s, uint32_t id)
{
	char text[] = "250 2.0.0 Queued as 00000000\r\n";
	char *end = text + sizeof text - 1 - 2;

	for (; id > 0; id >>= 4)
		*--end = "0123456789abcdef"[id & 15];
	smtpd_say_str(s, (struct ga_str){ text, sizeof text - 1 });
}

void
smtpd_say_refusal(struct smtpd_session *s)
{
	switch (s->refusal) {
	case REFUSE_NOT:
		break;
	case REFUSE_SIZE:
		smtpd_say(s, "552 5.3.4 Message is too large");
		break;
	case REFUSE_HEADER:
		smtpd_say(s, "552 5.3.4 Message header is too large");
		break;
	case REFUSE_NUL:
		smtpd_say(s, "554 5.6.0 Message contains a NUL octet");
		break;
	case REFUSE_BARE:
		smtpd_say(s, "550 5.6.0 Message contains a bare <CR> or <LF>: lines end with <CR><LF>");
		break;
	case REFUSE_LOOP:
		smtpd_say(s, "554 5.4.6 Too many Received fields: a mail loop");
		break;
	case REFUSE_FIELD:
		smtpd_sayf(s, "550 5.6.0 Value of %.*s is not allowed", (int)s->wrong_field.n,
		    s->wrong_field.p);
		break;
	case REFUSE_FULL:
		smtpd_say(s, "452 4.3.1 No room for mail now, try again later");
		break;
	case REFUSE_ERROR:
		smtpd_say(s, "451 4.3.0 Message could not be stored, try again later");
		break;
	}
}

static void
message_over(struct smtpd_session *s, bool accepted)
{
	struct smtpd_counters *c = &s->gen->service->count;

	if (accepted) {
		s->messages++;
		atomic_fetch_add(&c->messages, 1);
		atomic_fetch_add(&c->recipients, s->txn->nrcpts);
		atomic_fetch_add(&c->octets, s->scan.size);
		s->errors = s->junk = 0;
		s->dropped = 0;
	} else {
		atomic_fetch_add(&c->messages_refused, 1);
	}
	smtpd_reset(s, accepted ? GA_END_DONE : GA_END_ABORTED);
	smtpd_next_command(s);
}

/* --- what it is --- */

static void
describe(struct smtpd_session *s)
{
	struct ga_txn *t = s->txn;

	if (s->upload == NULL)
		t->header_size = (uint32_t)s->scan.header_size;
	if (s->scan.eightbit)
		t->flags |= GA_MSG_8BIT;
	if (s->scan.eightbit_header)
		t->flags |= GA_MSG_8BIT_HEADER;
	if (s->scan.long_line)
		t->flags |= GA_MSG_LONG_LINES;
}

static void
describe_trace(struct ga_txn *t)
{
	/* our own field names it */
	if (t->nrcpts == 1 && !smtpd_is_ascii(t->rcpts[0].to))
		t->flags |= GA_MSG_8BIT | GA_MSG_8BIT_HEADER;
}

/* Strangers may not choose how their mail goes on. */
static bool
take_injection(struct smtpd_session *s)
{
	if (!ga_injection_take(s->txn, s->relays, &s->wrong_field)) {
		smtpd_refuse_message(s, REFUSE_FIELD);
		return false;
	}
	smtpd_variables_mark(s, &s->txn->attrs);
	return true;
}

bool
smtpd_header_complete(struct smtpd_session *s)
{
	bool good;

	describe(s);
	good = take_injection(s);
	/* without what was taken out */
	s->scan.eightbit = (s->txn->flags & GA_MSG_8BIT) != 0;
	s->scan.eightbit_header = (s->txn->flags & GA_MSG_8BIT_HEADER) != 0;
	s->scan.long_line = (s->txn->flags & GA_MSG_LONG_LINES) != 0;
	return good;
}

/* --- intake --- */

static void
committed(struct ga_worker *loop, struct ga_intake_submit *sub)
{
	static const struct ga_reply not_stored = { 451, "4.3.0",
		"Message could not be stored, try again later" };
	struct smtpd_session *s = sub->arg;
	bool accepted = sub->verdict == GA_ACCEPT;
	uint32_t id = s->txn->id;

	s->commits = false;
	s->txn->id = 0;			/* intake has done with it */
	smtpd_enter(s);
	if (accepted)
		say_queued(s, id);
	else
		smtpd_say_reply(s, sub->reply.code != 0 ? &sub->reply : &not_stored,
		    sub->verdict);
	message_over(s, accepted);
	smtpd_resume_input(s);
	smtpd_leave(s);
}

static void
submit(struct smtpd_session *s)
{
	struct ga_intake_submit *sub = &s->submit;

	memset(sub, 0, sizeof *sub);
	sub->txn = s->txn;
	describe_trace(s->txn);
	if (s->upload == NULL)
		sub->trace = smtpd_trace(s);
	sub->upload = smtpd_upload_take(s);
	sub->cb = committed;
	sub->arg = s;
	s->commits = true;
	smtpd_enter_state(s, S_COMMIT);
	s->w->intake->submit(s->w->loop, sub);
}

/* --- hooks on the content --- */

static void
content_judged(struct smtpd_session *s, enum ga_verdict v)
{
	if (smtpd_refused(s, v)) {
		if (s->state != S_CLOSING)
			message_over(s, false);
		return;
	}
	if (v == GA_HOLD)
		s->txn->hold = true;
	if (v == GA_DISCARD || s->txn->discard) {
		s->txn->id = s->w->intake->reserve_id(s->w->loop);
		say_queued(s, s->txn->id);
		message_over(s, true);
		return;
	}
	if (s->upload == NULL && !take_injection(s)) {
		smtpd_say_refusal(s);
		message_over(s, false);
		return;
	}
	submit(s);
}

static void
content_answered(struct ga_run *run, enum ga_verdict v, void *arg)
{
	struct smtpd_session *s = arg;

	smtpd_enter(s);
	if (s->state == S_CONTENT) {
		content_judged(s, v);
		smtpd_resume_input(s);
	}
	smtpd_leave(s);
}

static void
ask_content(struct smtpd_session *s)
{
	enum ga_verdict v;

	memset(&s->run, 0, sizeof s->run);
	s->run.worker = s->w->loop;
	s->run.settings = s->gen->settings;
	s->run.session = s->ga;
	s->run.txn = s->txn;
	s->run.object_id = s->id;
	s->run.done = content_answered;
	s->run.arg = s;
	smtpd_enter_state(s, S_CONTENT);
	v = ga_run_content(&s->run);
	if (v != GA_SUSPENDED_)
		content_judged(s, v);
}

void
smtpd_message_complete(struct smtpd_session *s)
{
	if (s->refusal == REFUSE_NOT && s->upload != NULL && s->txn->body != NULL)
		smtpd_upload_feed(s, true);
	if (s->refusal == REFUSE_NOT && smtpd_upload_pending(s) > 0) {
		smtpd_hold(s);
		return;
	}
	if (s->refusal != REFUSE_NOT) {
		smtpd_say_refusal(s);
		message_over(s, false);
		return;
	}
	describe(s);
	if (s->gen->content_hooks)
		ask_content(s);
	else
		content_judged(s, GA_PASS);
}
