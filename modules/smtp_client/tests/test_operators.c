/*
 * test_operators.c - what operators see of connections, and how they end one: commands
 * `connections` and `close_connection`, phase by phase.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dialogue.h"

/* --- connections --- */

/* What the one connection there is shows. */
static void
shown(const char *state, const char *command, unsigned ms)
{
	const char *answer = fake_ask("connections", "{}");
	char text[200];

	snprintf(text, sizeof text, "\"state\":\"%s\"", state);
	assert_non_null(strstr(answer, text));
	snprintf(text, sizeof text, "\"current_smtp_command_duration_ms\":%u,"
	    "\"current_smtp_command\":\"%s\"", ms, command);
	if (strstr(answer, text) == NULL)
		fail_msg("%s is not in %s", text, answer);
}

static void
test_each_command_is_shown_since_it_was_sent(void **state)
{
	fake.settings.conf.reuse_connections = true;
	open_to(1, 1);
	fake_advance(10);
	shown("connecting", "", 0);
	fake_accept();
	fake_advance(10);
	shown("sending", "", 0);
	fake_says("220 mx0 ESMTP\r\n");
	fake_advance(11);
	shown("sending", "EHLO", 11);
	fake_says(PLAIN);
	fake_advance(12);
	shown("sending", "MAIL FROM", 12);
	fake_says("250 ok\r\n");
	fake_advance(13);
	shown("sending", "RCPT TO", 13);
	fake_says("250 ok\r\n");
	fake_advance(14);
	shown("sending", "DATA", 14);
	fake_says("354 go\r\n");
	fake_advance(15);
	shown("sending", "sending message (waiting)", 15);
	fake_says("250 ok\r\n");
	fake_advance(1500);
	shown("saved_for_reuse", "", 0);
	assert_non_null(strstr(fake.answer, "\"conn_expires_remaining\":29,"));
	fake_advance(29000);
	fake_advance(16);
	shown("closing", "QUIT", 16);
}

static void
test_a_command_that_left_with_others_is_shown_since_all_were_sent(void **state)
{
	open_to(1, 2);
	session(PIPES);
	fake_advance(100);
	shown("sending", "MAIL FROM", 100);
	fake_says("250 ok\r\n");
	fake_advance(100);
	shown("sending", "RCPT TO", 200);
	fake_says("250 ok\r\n250 ok\r\n");
	fake_advance(100);
	shown("sending", "DATA", 300);
}

static void
test_the_handshake_is_shown_as_a_part_of_starttls(void **state)
{
	fake.settings.conf.starttls_use = true;
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_advance(100);
	shown("sending", "STARTTLS", 100);
	fake_says("220 go\r\n");
	fake_advance(100);
	shown("sending", "STARTTLS", 200);
	fake_tls(NULL);
	fake_advance(100);
	shown("sending", "EHLO", 100);
}

static void
test_a_message_that_a_module_edits_is_being_read(void **state)
{
	fake_hook(GA_SUSPENDED_, "Edited: yes\r\n\r\n");
	open_to(1, 1);
	session(PIPES);
	fake_advance(100);
	shown("sending", "sending message (reading)", 100);
	fake_answer(GA_PASS);
	shown("sending", "MAIL FROM", 0);
}

static void
test_a_message_that_is_held_or_not_taken_is_being_sent(void **state)
{
	fake.settings.conf.reuse_connections = true;
	fake.hold_dones = true;
	open_to(1, 1);
	session(PIPES);
	more_for("y.example", false);
	fake_says(TO_DATA);
	fake_says("250 ok\r\n");
	fake.write_room = 0;
	fake_says("250 ok\r\n250 ok\r\n354 go\r\n");
	fake_advance(100);
	shown("sending", "sending message (sending)", 100);
	fake.write_room = SIZE_MAX;
	fake_says("");
	fake_advance(100);
	shown("sending", "sending message (sending)", 200);
	fake_durable();
	fake_advance(100);
	shown("sending", "sending message (waiting)", 100);
}

static void walk_free(struct smtpc_walk *walk) { free(walk); }

static void
nothing_more(struct ga_worker *w, struct ga_post *post)
{
}

static void
test_a_command_under_way_when_the_loops_end_is_answered_and_freed(void **state)
{
	struct ga_control_call *call = (struct ga_control_call *)(uintptr_t)0x10;
	struct smtpc_walk *walk = ga_xcalloc(1, sizeof *walk);

	fake.answers = 0;
	smtpc_walk_begin(walk, call, nothing_more, walk_free);
	fake_run();
	assert_int_equal(fake.answers, 0);
	smtpc_walks_stop();
	assert_int_equal(fake.answers, 1);
	assert_string_equal(fake.answer, "greenarrowd stops");
}

/* A connection that only is in the list. */
static struct smtpc_conn *
listed(uint64_t id, struct ga_route *r)
{
	struct smtpc_loop *l = smtpc_loop(ga_worker_self());
	struct smtpc_conn *c = smtpc_conn_new(l);

	smtpc_set_route(c, r);
	c->group = r->group;
	c->state = SMTPC_EHLO;
	c->id = id;
	TAILQ_INSERT_TAIL(&l->all, c, all);
	return c;
}

static void
unlist(struct smtpc_conn *c)
{
	smtpc_cursors_pass(c->loop, c);
	TAILQ_REMOVE(&c->loop->all, c, all);
	smtpc_conn_unref(c);
}

#define MANY 450
static struct {
	struct ga_post post;
	unsigned turn;
	struct smtpc_conn *conns[MANY + 1];	/* by id */
} crowd;

/* Runs before the first slice of the list, and between that and the next. */
static void
some_go(struct ga_worker *w, struct ga_post *post)
{
	if (crowd.turn++ == 0) {
		ga_loop_post(w, post);
		return;
	}
	for (unsigned id = 195; id <= 205; id++) {
		unlist(crowd.conns[id]);
		crowd.conns[id] = NULL;
	}
}

static void
test_a_long_list_keeps_its_place_while_connections_go(void **state)
{
	struct ga_route *r = fake_route("y.example", 1);
	char text[32];

	for (unsigned id = 1; id <= MANY; id++)
		crowd.conns[id] = listed(id, r);
	crowd.turn = 0;
	crowd.post.fn = some_go;
	ga_loop_post(ga_worker_self(), &crowd.post);
	fake_ask("connections", "{}");
	assert_int_equal(crowd.turn, 2);
	for (unsigned id = 1; id <= MANY; id++) {
		snprintf(text, sizeof text, "{\"id\":%u,", id);
		/* the first slice, of 200, had seen some of those that went */
		if ((strstr(fake.answer, text) != NULL) != (id <= 200 || id > 205))
			fail_msg("connection %u", id);
	}
	assert_non_null(strstr(fake.answer, "\"connections_delivery_in_progress\":445}"));
	for (unsigned id = 1; id <= MANY; id++)
		if (crowd.conns[id] != NULL)
			unlist(crowd.conns[id]);
	ga_route_unref(r);
}

/* --- close_connection --- */

#define CLOSE(id) fake_ask("close_connection", "{\"id\":" #id "}")
#define CLOSE_NOW(id) fake_ask("close_connection", "{\"id\":" #id ",\"now\":true}")
#define AFTER(id) "{\"connection\":" #id ",\"done\":\"after_transaction\"}\n"
#define CLOSED(id) "{\"connection\":" #id ",\"done\":\"closed\"}\n"

static void
test_a_saved_connection_that_an_operator_closes_says_quit(void **state)
{
	deliver_and_save();
	assert_string_equal(CLOSE(1), "{\"connection\":1,\"done\":\"quit\"}\n");
	fake_expect("QUIT\r\n");
	fake_says("221 bye\r\n");
	assert_int_equal(fake.closed, 1);
	assert_int_equal(atomic_load(&smtpc.saved), 0);
	assert_string_equal(CLOSE(1), "no connection 1");
	assert_string_equal(CLOSE(0), "\"id\" is the number of a connection");
}

static void
test_a_transaction_ends_before_an_operator_s_quit_and_no_other_begins(void **state)
{
	fake.settings.conf.reuse_connections = true;
	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA);
	more_for("y.example", false);
	fake.ntx = 0;
	assert_string_equal(CLOSE(1), AFTER(1));
	assert_false(fake_sent_anything());
	fake_says("250 ok\r\n");
	result_is(0, GA_RESULT_SUCCESS, 250, "");
	fake_expect("QUIT\r\n");
	fake_says("221 bye\r\n");
	assert_int_equal(fake.nresults, 1);
	assert_int_equal(fake.closed, 1);
}

static void
test_what_was_carried_goes_back_when_an_operator_closes(void **state)
{
	open_to(1, 2);
	session(PIPES);
	fake_says("250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n354 go\r\n");
	fake.ntx = 0;
	CLOSE(1);
	fake_says("250 ok\r\n");
	fake_expect("QUIT\r\n");
	assert_int_equal(fake.nresults, 2);
	result_is(0, GA_RESULT_RECALLED, 0, "");
	result_is(1, GA_RESULT_SUCCESS, 250, "");
}

static void
test_a_connection_being_made_delivers_before_it_closes(void **state)
{
	fake.settings.conf.reuse_connections = true;
	open_to(1, 1);
	assert_string_equal(CLOSE(1), AFTER(1));
	session(PIPES);
	fake_says(TO_DATA);
	fake.ntx = 0;
	fake_says("250 ok\r\n");
	result_is(0, GA_RESULT_SUCCESS, 250, "");
	fake_expect("QUIT\r\n");
}

static void
closed_now(void)
{
	assert_string_equal(CLOSE_NOW(1), CLOSED(1));
	assert_null(fake.stream);
	assert_int_equal(fake.closed, 1);
	assert_string_equal(CLOSE_NOW(1), "no connection 1");
}

static void
test_closed_now_is_a_deferral_in_every_phase(void **state)
{
	static const char *const said[] = { NULL, "", "220 mx0\r\n", "220 mx0\r\n" PIPES,
		"220 mx0\r\n" PIPES "250 ok\r\n", "220 mx0\r\n" PIPES "250 ok\r\n250 ok\r\n",
		"220 mx0\r\n" PIPES TO_DATA };

	for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
		if (i > 0) {
			fake_end();
			fake_begin();
		}
		open_to(2, 1);
		if (said[i] != NULL)
			fake_accept();
		for (const char *p = said[i]; p != NULL && *p != '\0'; p = strchr(p, '\n') + 1)
			fake_says_n(p, (size_t)(strchr(p, '\n') + 1 - p));
		closed_now();
		result_is(0, GA_RESULT_DEFERRAL, 0, "4.4.2");
		assert_string_equal(fake.results[0].text, "the connection was closed by an operator");
		assert_true(fake.connects <= 1);
	}
}

static void
test_closed_now_ends_saved_connections_and_those_that_say_quit(void **state)
{
	deliver_and_save();
	assert_string_equal(CLOSE_NOW(1), CLOSED(1));
	assert_int_equal(fake.closed, 1);
	assert_false(fake_sent_anything());
	open_to(1, 1);
	fake.settings.conf.reuse_connections = false;
	session(PIPES);
	fake_says(TO_DATA);
	fake_says("250 ok\r\n");
	assert_string_equal(CLOSE_NOW(2), CLOSED(2));
	assert_int_equal(fake.closed, 2);
	result_is(1, GA_RESULT_SUCCESS, 250, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_each_command_is_shown_since_it_was_sent),
		TEST(test_a_command_that_left_with_others_is_shown_since_all_were_sent),
		TEST(test_the_handshake_is_shown_as_a_part_of_starttls),
		TEST(test_a_message_that_a_module_edits_is_being_read),
		TEST(test_a_message_that_is_held_or_not_taken_is_being_sent),
		TEST(test_a_command_under_way_when_the_loops_end_is_answered_and_freed),
		TEST(test_a_long_list_keeps_its_place_while_connections_go),
		TEST(test_a_saved_connection_that_an_operator_closes_says_quit),
		TEST(test_a_transaction_ends_before_an_operator_s_quit_and_no_other_begins),
		TEST(test_what_was_carried_goes_back_when_an_operator_closes),
		TEST(test_a_connection_being_made_delivers_before_it_closes),
		TEST(test_closed_now_is_a_deferral_in_every_phase),
		TEST(test_closed_now_ends_saved_connections_and_those_that_say_quit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
