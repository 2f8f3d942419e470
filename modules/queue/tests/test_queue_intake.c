/*
 * test_queue_intake.c - the one way in: what modules say at queue_commit, also late;
 * large bodies that the spool has already; what a spool that fails leaves behind.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage.h"

static enum ga_verdict verdict;
static const char *reply_text;		/* NULL: the module leaves the words to intake */

static enum ga_verdict
say(struct ga_call *call, const struct ga_ev_commit *ev)
{
	assert_int_not_equal(ev->message_id, 0);
	if (reply_text != NULL)
		ga_reply(call, verdict == GA_REJECT ? 550 : 450, "4.7.9", "%s", reply_text);
	return verdict;
}

static enum ga_verdict
think(struct ga_call *call, const struct ga_ev_commit *ev)
{
	(void)ev;
	return stage_suspend(call);
}

/* No trace of the message: neither here nor in the spool. */
static void
nothing_is_left(void)
{
	assert_int_equal(stage_stats().messages, 0);
	assert_int_equal(q_loop(ga_worker_get(0))->nids, 0);
	assert_null(q_loop(ga_worker_get(0))->submits);
	assert_int_equal(stage_spool().live, 0);
	assert_int_equal(stage_spool().uploads, 0);
	assert_int_equal(stage.ntickets, 0);
	assert_int_equal(stage.queued, 0);
}

static struct ga_intake_submit
answer_to(enum ga_verdict v, const char *text)
{
	stage.commit = say;
	verdict = v;
	reply_text = text;
	return stage_answer((struct stage_mail){ .n = 2 });
}

/* --- verdicts --- */

static void
test_what_nobody_minds_is_queued(void **state)
{
	(void)state;
	assert_int_equal(answer_to(GA_PASS, NULL).verdict, GA_ACCEPT);
	assert_int_equal(answer_to(GA_ACCEPT, NULL).verdict, GA_ACCEPT);
	assert_int_equal(stage.ntickets, 4);
	assert_int_equal(stage.queued, 2);
	assert_int_equal(stage_stats().accepted_total, 2);
}

static enum ga_verdict
ask_for_notifications(struct ga_call *call, const struct ga_ev_commit *ev)
{
	(void)call;
	ga_attrs_put(&ev->t->attrs, GA_ATTR_RET, GA_STR("HDRS"));
	ga_attrs_put(&ev->t->attrs, GA_ATTR_ENVID, GA_STR("QQ314159"));
	ev->t->rcpts[0].notify = GA_NOTIFY_SUCCESS | GA_NOTIFY_DELAY;
	ev->t->rcpts[0].orcpt = GA_STR("rfc822;first@example.com");
	return GA_PASS;
}

static void
assert_attr(struct ga_str attrs, unsigned key, struct ga_str value)
{
	struct ga_str v;

	assert_true(ga_attr_get(attrs, key, &v));
	assert_true(ga_str_eq(v, value));
}

static void
test_what_is_asked_of_notifications_is_recorded(void **state)
{
	struct ga_message *m;
	struct ga_str absent;

	(void)state;
	stage.commit = ask_for_notifications;
	m = spool_memory_message(stage_accept((struct stage_mail){ .n = 2 }));
	assert_non_null(m);
	assert_attr(m->attrs, GA_ATTR_RET, GA_STR("HDRS"));
	assert_attr(m->attrs, GA_ATTR_ENVID, GA_STR("QQ314159"));
	assert_attr(m->envelopes[0].attrs, GA_ATTR_ORCPT, GA_STR("rfc822;first@example.com"));
	assert_int_equal(ga_attr_u32(m->envelopes[0].attrs, GA_ATTR_NOTIFY, 0),
	    GA_NOTIFY_SUCCESS | GA_NOTIFY_DELAY);
	assert_false(ga_attr_get(m->envelopes[1].attrs, GA_ATTR_ORCPT, &absent));
	assert_int_equal(ga_attr_u32(m->envelopes[1].attrs, GA_ATTR_NOTIFY, 0), 0);
	ga_message_unref(m);
}

static void
test_a_rejected_message_is_nowhere(void **state)
{
	struct ga_intake_submit s = answer_to(GA_REJECT, NULL);

	(void)state;
	assert_int_equal(s.verdict, GA_REJECT);
	assert_int_equal(s.reply.code, 554);
	assert_string_equal(s.reply.enhanced, "5.7.1");
	s = answer_to(GA_REJECT, "not this");
	assert_int_equal(s.reply.code, 550);
	assert_string_equal(s.reply.text, "not this");
	nothing_is_left();
}

static void
test_a_message_that_is_to_come_again_is_nowhere(void **state)
{
	static const enum ga_verdict verdicts[] = { GA_TEMPFAIL, GA_CLOSE };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct ga_intake_submit s = answer_to(verdicts[i], NULL);

		assert_int_equal(s.verdict, GA_TEMPFAIL);
		assert_int_equal(s.reply.code, 451);
		assert_string_equal(s.reply.enhanced, "4.7.1");
	}
	assert_int_equal(answer_to(GA_TEMPFAIL, "later").reply.code, 450);
	nothing_is_left();
}

static void
test_a_discarded_message_was_accepted_and_is_nowhere(void **state)
{
	(void)state;
	assert_int_equal(answer_to(GA_DISCARD, NULL).verdict, GA_ACCEPT);
	nothing_is_left();
	stage.commit = NULL;
	assert_int_equal(stage_answer((struct stage_mail){ .discard = true }).verdict, GA_ACCEPT);
	nothing_is_left();
}

static void
held_and_stays_held(void)
{
	struct ga_envelope e;
	char reply[1001];
	uint64_t seq = spool_memory_last_seq();

	assert_int_equal(stage_stats().paused, 2);
	assert_int_equal(stage.ntickets, 0);
	assert_int_equal(stage.routed, 0);
	/* in the record of the message itself */
	assert_true(stage_recorded(seq, 1, &e, reply));
	assert_int_equal(e.flags, GA_ENV_SUSPENDED);
	assert_int_equal(stage_spool().updates, 0);
	stage_check();
	stage_restart("");
	assert_int_equal(stage_stats().paused, 2);
	assert_int_equal(stage.ntickets, 0);
}

static void
test_a_message_that_a_module_holds_is_held_from_its_first_record(void **state)
{
	(void)state;
	assert_int_equal(answer_to(GA_HOLD, NULL).verdict, GA_ACCEPT);
	held_and_stays_held();
}

static void
test_a_message_that_was_held_before_is_held(void **state)
{
	(void)state;
	assert_int_equal(stage_answer((struct stage_mail){ .n = 2, .hold = true }).verdict, GA_ACCEPT);
	held_and_stays_held();
}

/* --- late --- */

static struct stage_submit *
waiting(struct stage_mail mail)
{
	struct stage_submit *s;

	stage.commit = think;
	s = stage_submit(mail);
	bed_turns(20);
	assert_int_equal(s->answers, 0);
	assert_int_equal(stage_wait.asked, 1);
	assert_int_equal(stage_spool().commits, 0);
	stage_check();
	return s;
}

static void
late(enum ga_verdict v, enum ga_verdict answer, unsigned messages, unsigned paused)
{
	struct stage_submit *s = waiting((struct stage_mail){ .n = 3 });

	stage_resume(v);
	assert_int_equal(s->answers, 1);
	assert_int_equal(s->s.verdict, answer);
	assert_int_equal(stage_stats().messages, messages);
	assert_int_equal(stage_stats().paused, paused);
	if (messages == 0)
		nothing_is_left();
	stage_submit_free(s);
}

static void
test_a_late_pass_queues(void **state)
{
	(void)state;
	late(GA_PASS, GA_ACCEPT, 1, 0);
	assert_int_equal(stage.ntickets, 3);
}

static void
test_a_late_rejection_rejects(void **state)
{
	(void)state;
	late(GA_REJECT, GA_REJECT, 0, 0);
}

static void
test_a_late_discard_discards(void **state)
{
	(void)state;
	late(GA_DISCARD, GA_ACCEPT, 0, 0);
}

static void
test_a_late_hold_holds(void **state)
{
	(void)state;
	late(GA_HOLD, GA_ACCEPT, 1, 3);
}

static void
test_a_module_that_never_answers_is_a_tempfail(void **state)
{
	struct stage_submit *s = waiting((struct stage_mail){ .n = 1 });

	(void)state;
	bed_advance(30000);
	assert_int_equal(stage_wait.cancelled, 1);
	assert_int_equal(stage_wait.why, GA_WHY_TIMEOUT);
	assert_int_equal(s->answers, 1);
	assert_int_equal(s->s.verdict, GA_TEMPFAIL);
	nothing_is_left();
	stage_submit_free(s);
}

/* Whoever handed it in is told, in the same breath as the module. */
static void
test_a_stop_while_a_module_thinks_answers_both(void **state)
{
	struct ga_spool_upload *upload;
	const struct ga_spool *spool = ga_service_get(GA_SPOOL_SERVICE, GA_SPOOL_VERSION);
	struct stage_submit *s;

	(void)state;
	upload = spool->upload_begin(ga_worker_get(0));
	s = waiting((struct stage_mail){ .n = 1, .upload = upload });
	stage_kill();
	assert_int_equal(stage_wait.cancelled, 1);
	assert_int_equal(stage_wait.resumed, 0);
	assert_int_equal(stage_wait.why, GA_WHY_DRAIN);
	assert_int_equal(s->answers, 1);
	assert_int_equal(s->s.verdict, GA_TEMPFAIL);
	assert_int_equal(s->s.reply.code, 451);
	assert_int_equal(stage_spool().uploads, 0);
	stage_submit_free(s);
	stage_start("");
	nothing_is_left();
}

static void
test_a_stop_between_the_commit_and_its_answer_loses_nothing(void **state)
{
	struct stage_submit *s = stage_submit((struct stage_mail){ .n = 2 });

	(void)state;
	assert_int_equal(stage_spool().live, 1);
	stage_kill();
	assert_int_equal(s->answers, 0);	/* 250 was not said: it may come twice, never not at all */
	stage_submit_free(s);
	stage_start("");
	assert_int_equal(stage.ntickets, 2);
}

/* --- a spool that fails --- */

static void
test_a_full_disk_is_452_and_a_broken_one_451_and_nothing_is_left(void **state)
{
	struct ga_intake_submit s;

	(void)state;
	spool_memory_fail(EDQUOT);
	s = stage_answer((struct stage_mail){ .n = 2 });
	assert_int_equal(s.verdict, GA_TEMPFAIL);
	assert_int_equal(s.reply.code, 452);
	assert_string_equal(s.reply.enhanced, "4.3.1");
	spool_memory_fail(EIO);
	s = stage_answer((struct stage_mail){ .n = 2 });
	assert_int_equal(s.reply.code, 451);
	assert_string_equal(s.reply.enhanced, "4.3.0");
	nothing_is_left();
	assert_int_equal(stage_answer((struct stage_mail){ .n = 2 }).verdict, GA_ACCEPT);
}

/* --- uploads --- */

static unsigned pieces_done;
static int piece_error;

static void
piece_came(struct ga_worker *w, struct ga_spool_piece *p)
{
	(void)w;
	pieces_done++;
	if (p->error != 0)
		piece_error = p->error;
	free(p);
}

/* n pieces of 64 KiB. */
static struct ga_spool_upload *
upload(unsigned n)
{
	const struct ga_spool *spool = ga_service_get(GA_SPOOL_SERVICE, GA_SPOOL_VERSION);
	struct ga_spool_upload *u = spool->upload_begin(ga_worker_get(0));
	static const char octets[65536];

	pieces_done = 0;
	piece_error = 0;
	for (unsigned i = 0; i < n; i++) {
		struct ga_spool_piece *p = ga_xcalloc(1, sizeof *p);

		p->upload = u;
		p->body = ga_body_new();
		ga_body_append(p->body, octets, sizeof octets);
		p->cb = piece_came;
		spool->upload_piece(ga_worker_get(0), p);
	}
	bed_turns(10);
	assert_int_equal(pieces_done, n);
	return u;
}

static void
test_a_large_message_is_committed_and_not_kept_in_memory(void **state)
{
	struct ga_message *m;
	uint64_t seq;

	(void)state;
	seq = stage_accept((struct stage_mail){ .n = 2, .upload = upload(8) });
	assert_int_equal(stage_spool().uploads, 0);
	m = spool_memory_message(seq);
	assert_int_equal(m->body_size, 8 * 65536);
	ga_message_unref(m);
	assert_int_equal(stage.ntickets, 2);
	for (const struct ga_ticket *t = stage.first; t != NULL; t = t->next) {
		assert_null(t->message);	/* delivery reads it by seq */
		assert_int_equal(t->seq, seq);
	}
	assert_null(q_message(q_loop(ga_worker_get(0)), stage_envelope(seq, 0)->message)->live);
}

static void
test_a_large_message_that_is_refused_is_aborted(void **state)
{
	static const enum ga_verdict verdicts[] = { GA_REJECT, GA_TEMPFAIL, GA_DISCARD };

	(void)state;
	stage.commit = say;
	reply_text = NULL;
	for (unsigned i = 0; i < 3; i++) {
		verdict = verdicts[i];
		stage_answer((struct stage_mail){ .upload = upload(2) });
		nothing_is_left();
	}
	stage.commit = NULL;
	stage_answer((struct stage_mail){ .upload = upload(2), .discard = true });
	nothing_is_left();
}

static void
test_a_large_message_waits_for_a_module_like_a_small_one(void **state)
{
	struct stage_submit *s = waiting((struct stage_mail){ .upload = upload(2) });

	(void)state;
	assert_int_equal(stage_spool().uploads, 1);
	stage_resume(GA_PASS);
	assert_int_equal(s->s.verdict, GA_ACCEPT);
	assert_int_equal(stage_spool().uploads, 0);
	assert_int_equal(stage_spool().live, 1);
	stage_submit_free(s);
}

static void
test_a_spool_that_fails_at_the_end_of_a_large_message_takes_it_back(void **state)
{
	struct ga_spool_upload *u = upload(4);
	struct ga_intake_submit s;

	(void)state;
	spool_memory_fail(ENOSPC);
	s = stage_answer((struct stage_mail){ .upload = u });
	assert_int_equal(s.verdict, GA_TEMPFAIL);
	assert_int_equal(s.reply.code, 452);
	nothing_is_left();
}

/* The session has not looked at the piece's error, or not yet. */
static void
test_a_spool_that_fails_amid_a_large_message_fails_its_commit(void **state)
{
	struct ga_spool_upload *u;
	struct ga_intake_submit s;

	(void)state;
	spool_memory_fail_piece(EIO);
	u = upload(4);
	assert_int_equal(piece_error, EIO);
	s = stage_answer((struct stage_mail){ .upload = u });
	assert_int_equal(s.verdict, GA_TEMPFAIL);
	assert_int_equal(s.reply.code, 451);
	nothing_is_left();
}

/* --- ids --- */

static void
test_ids_of_live_messages_are_never_drawn_again(void **state)
{
	struct q_loop *l = q_loop(ga_worker_get(0));

	(void)state;
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(q_id_find(l, q_id_draw(l)), 0);
	/* the generator gives what it gave: an id that is taken is not taken twice */
	for (unsigned i = 0; i < 3; i++) {
		stage.seed = 99;
		stage_accept((struct stage_mail){ .n = 1 });
	}
	assert_int_equal(stage_stats().messages, 3);
	stage_check();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		STAGE_TEST_HOOKED(test_what_nobody_minds_is_queued),
		STAGE_TEST_HOOKED(test_what_is_asked_of_notifications_is_recorded),
		STAGE_TEST_HOOKED(test_a_rejected_message_is_nowhere),
		STAGE_TEST_HOOKED(test_a_message_that_is_to_come_again_is_nowhere),
		STAGE_TEST_HOOKED(test_a_discarded_message_was_accepted_and_is_nowhere),
		STAGE_TEST_HOOKED(test_a_message_that_a_module_holds_is_held_from_its_first_record),
		STAGE_TEST_HOOKED(test_a_message_that_was_held_before_is_held),
		STAGE_TEST_HOOKED(test_a_late_pass_queues),
		STAGE_TEST_HOOKED(test_a_late_rejection_rejects),
		STAGE_TEST_HOOKED(test_a_late_discard_discards),
		STAGE_TEST_HOOKED(test_a_late_hold_holds),
		STAGE_TEST_HOOKED(test_a_module_that_never_answers_is_a_tempfail),
		STAGE_TEST_HOOKED(test_a_stop_while_a_module_thinks_answers_both),
		STAGE_TEST(test_a_stop_between_the_commit_and_its_answer_loses_nothing),
		STAGE_TEST(test_a_full_disk_is_452_and_a_broken_one_451_and_nothing_is_left),
		STAGE_TEST(test_a_large_message_is_committed_and_not_kept_in_memory),
		STAGE_TEST_HOOKED(test_a_large_message_that_is_refused_is_aborted),
		STAGE_TEST_HOOKED(test_a_large_message_waits_for_a_module_like_a_small_one),
		STAGE_TEST(test_a_spool_that_fails_at_the_end_of_a_large_message_takes_it_back),
		STAGE_TEST(test_a_spool_that_fails_amid_a_large_message_fails_its_commit),
		STAGE_TEST(test_ids_of_live_messages_are_never_drawn_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
