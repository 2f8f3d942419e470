/*
 * ask.c - hooks of a session: asking and going on when the answer is there.
 *
 * Called by the commands, on the session's loop.  A hook that nobody subscribed to
 * costs a load and a branch.  While one is suspended the session is in S_ASK: input
 * may come and waits.
 */
#include <string.h>

#include "session.h"

static void
answered(struct ga_run *run, enum ga_verdict v, void *arg)
{
	struct smtpd_session *s = arg;

	smtpd_enter(s);
	s->plan = ga_session_plan(s->ga);
	if (s->state == S_ASK) {
		s->state = s->asked_in;
		smtpd_deadline(s, s->gen->conf->smtpd_timeout);
		s->answer(s, v);
		smtpd_resume_input(s);
	}
	smtpd_leave(s);
}

void
smtpd_ask(struct smtpd_session *s, enum ga_hook_id hook, const void *event,
    smtpd_answer_fn *answer)
{
	enum ga_verdict v;

	if (s->plan->hooks[hook] == NULL) {
		answer(s, GA_PASS);
		return;
	}
	memset(&s->run, 0, sizeof s->run);
	s->run.worker = s->w->loop;
	s->run.settings = s->gen->settings;
	s->run.session = s->ga;
	s->run.txn = s->txn;
	s->run.object_id = s->id;
	s->run.done = answered;
	s->run.arg = s;
	s->answer = answer;
	v = ga_run_hook(&s->run, hook, event);
	s->plan = ga_session_plan(s->ga);
	if (v != GA_SUSPENDED_) {
		answer(s, v);
		return;
	}
	s->asked_in = s->state;
	smtpd_enter_state(s, S_ASK);
}

bool
smtpd_refused(struct smtpd_session *s, enum ga_verdict v)
{
	switch (v) {
	case GA_CLOSE:
		if (s->run.reply.code / 100 == 4 || s->run.reply.code / 100 == 5)
			smtpd_say_reply(s, &s->run.reply, s->run.reply.code / 100 == 5 ?
			    GA_REJECT : GA_TEMPFAIL);
		else
			smtpd_say(s, "421 4.7.0 Closing the connection");
		smtpd_close(s, true);
		return true;
	case GA_TEMPFAIL:
	case GA_REJECT:
		smtpd_say_reply(s, &s->run.reply, v);
		return true;
	default:
		return false;
	}
}

void
smtpd_tell(struct smtpd_session *s, enum ga_hook_id hook, const void *event)
{
	struct ga_run run;

	/* of a large struct what a watch hook needs: lines are many */
	memset(&run, 0, offsetof(struct ga_run, reply));
	run.worker = s->w->loop;
	run.settings = s->gen->settings;
	run.session = s->ga;
	run.txn = s->txn;
	run.object_id = s->id;
	ga_run_hook(&run, hook, event);
	s->plan = ga_session_plan(s->ga);
}

void
smtpd_tell_content(struct smtpd_session *s, const char *p, size_t n)
{
	struct ga_ev_bytes ev = { .session_id = s->id, .kind = GA_IN_CMD, .content = true,
		.octets = { p, n } };

	if (n > 0)
		smtpd_tell(s, GA_HOOK_bytes, &ev);
}

void
smtpd_tell_line(struct smtpd_session *s, enum ga_line kind, struct ga_str shown, struct ga_str line)
{
	struct ga_ev_line ev = { .session_id = s->id, .kind = kind, .text = shown,
		.secret = shown.p != line.p ? line : GA_STR("") };

	smtpd_tell(s, GA_HOOK_line, &ev);
}
