/*
 * test_client.c - the whole module against a scripted peer: what it sends, what
 * becomes of each recipient, and what it does when the peer misbehaves.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>

#include <cmocka.h>

#include "dialogue.h"

static void
test_one_message_without_pipelining(void **state)
{
	open_to(1, 1);
	session("250 mx0\r\n");
	fake_expect("MAIL FROM:<s@x.example>\r\n");
	fake_says("250 ok\r\n");
	fake_expect("RCPT TO:<r0@y.example>\r\n");
	fake_says("250 ok\r\n");
	fake_expect("DATA\r\n");
	fake_says("354 go\r\n");
	fake_expect(BODY ".\r\n");
	fake_says("250 2.0.0 taken\r\n");
	fake_expect("QUIT\r\n");
	assert_int_equal(fake.nresults, 1);
	result_is(0, GA_RESULT_SUCCESS, 250, "2.0.0");
	assert_true(fake.results[0].recorded);
	assert_string_equal(fake.results[0].text, "250 2.0.0 taken");
	assert_int_equal(fake.closed, 0);
	fake_says("221 bye\r\n");
	assert_int_equal(fake.closed, 1);
	assert_int_equal(fake.ended, 1);
}

static void
test_pipelined_group_is_one_write_and_replies_map_by_position(void **state)
{
	open_to(1, 3);
	session(PIPES);
	fake_expect("MAIL FROM:<s@x.example>\r\nRCPT TO:<r0@y.example>\r\nRCPT TO:<r1@y.example>\r\n"
	    "RCPT TO:<r2@y.example>\r\nDATA\r\n");
	fake_says("250 ok\r\n250 ok\r\n550 5.1.1 no such user\r\n450 4.2.1 later\r\n354 go\r\n");
	fake_expect(BODY ".\r\n");
	fake_says("250 taken\r\n");
	assert_int_equal(fake.nresults, 3);
	for (unsigned i = 0; i < 3; i++)
		switch (fake.results[i].envelope_id) {
		case 0: result_is(i, GA_RESULT_SUCCESS, 250, ""); break;
		case 1: result_is(i, GA_RESULT_FAILURE, 550, "5.1.1"); break;
		case 2: result_is(i, GA_RESULT_DEFERRAL, 450, "4.2.1"); break;
		}
}

static void
test_nobody_left_and_354_gets_the_dot_alone(void **state)
{
	open_to(1, 1);
	session(PIPES);
	fake_expect(GROUP);
	fake_says("250 ok\r\n550 no\r\n354 go\r\n");
	fake_expect(".\r\n");
	assert_int_equal(fake.nresults, 0);
	fake_says("554 no recipients\r\n");
	result_is(0, GA_RESULT_FAILURE, 550, "");
	fake_expect("QUIT\r\n");
}

static void
test_refused_mail_with_accepted_rcpt_never_sends_a_dot(void **state)
{
	open_to(1, 1);
	session(PIPES);
	fake_expect(GROUP);
	fake_says("550 5.7.1 not you\r\n250 ok\r\n354 go\r\n");
	assert_false(fake_sent_anything());
	result_is(0, GA_RESULT_FAILURE, 550, "5.7.1");
	assert_int_equal(fake.closed, 1);
}

static void
test_all_refused_sends_no_data(void **state)
{
	fake.settings.conf.reuse_connections = true;
	open_to(1, 1);
	session("250 mx0\r\n");
	fake_says("250 ok\r\n");
	fake_says("550 5.1.1 no\r\n");
	fake_expect("MAIL FROM:<s@x.example>\r\nRCPT TO:<r0@y.example>\r\n");
	result_is(0, GA_RESULT_FAILURE, 550, "5.1.1");
	/* the open transaction is reset before the next one */
	more_for("y.example", true);
	fake_expect("RSET\r\n");
	fake_says("500 what\r\n");
	fake_expect("MAIL FROM:<s@x.example>\r\n");
}

static void
test_refused_ehlo_becomes_helo(void **state)
{
	open_to(1, 1);
	session("502 no\r\n");
	fake_expect("HELO mail.example\r\n");
	fake_says("250-mx0\r\n250 PIPELINING\r\n");
	fake_expect("MAIL FROM:<s@x.example>\r\n");
}

static void
test_next_host_after_refusal_of_connection_greeting_and_421(void **state)
{
	open_to(5, 1);
	fake_refuse();
	fake_accept();
	fake_says("554 go away\r\n");
	fake_accept();
	fake_says("220 x\r\n");
	fake_expect("EHLO mail.example\r\n");
	fake_says("421 busy\r\n");
	session("250 mx\r\n");
	fake_expect("MAIL FROM:<s@x.example>\r\n");
	fake_says("421 4.7.0 not now\r\n");
	session("250 mx\r\n");
	assert_int_equal(ntohl(((struct sockaddr_in *)(void *)&fake.connected_to.u.ss)->sin_addr.s_addr),
	    0x7f000005);
	assert_int_equal(fake.closed, 0);
	assert_int_equal(fake.nresults, 0);
	fake_eof();
	assert_int_equal(fake.closed, 1);
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.4.2");
	assert_true(fake.results[0].network);
}

static void
test_5yz_greeting_everywhere_is_a_deferral_with_that_reply(void **state)
{
	open_to(2, 2);
	for (int i = 0; i < 2; i++) {
		fake_accept();
		fake_says("554 5.7.1 go away\r\n");
	}
	assert_int_equal(fake.nresults, 2);
	result_is(0, GA_RESULT_DEFERRAL, 554, "5.7.1");
	assert_false(fake.results[0].network);
}

static void
test_no_more_addresses_than_max_connect_attempts(void **state)
{
	fake.settings.conf.max_connect_attempts = 2;
	open_to(5, 1);
	fake_refuse();
	fake_refuse();
	assert_int_equal(fake.connects, 2);
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.4.1");
	assert_non_null(strstr(fake.results[0].text, "Connection refused"));
}

static void
test_route_without_hosts_is_a_deferral_and_frees_the_slot(void **state)
{
	open_to(0, 1);
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.4.4");
	assert_int_equal(fake.closed, 1);
}

static void
test_closed_or_silent_after_the_dot_is_a_deferral(void **state)
{
	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA);
	fake_eof();
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.4.2");
	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA);
	fake_advance(599000);
	assert_int_equal(fake.nresults, 1);
	fake_advance(2000);
	result_is(1, GA_RESULT_DEFERRAL, 0, "4.4.2");
	assert_int_equal(fake.dones, 0);
}

static void
test_421_at_the_dot_is_temporary(void **state)
{
	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA);
	fake_says("421 4.3.2 shutting down\r\n");
	result_is(0, GA_RESULT_DEFERRAL, 421, "4.3.2");
}

static void
test_too_many_recipients_go_in_the_next_transaction_at_once(void **state)
{
	open_to(1, 3);
	session(PIPES);
	fake.ntx = 0;
	fake_says("250 ok\r\n250 ok\r\n452 4.5.3 too many\r\n452 4.5.3 too many\r\n354 go\r\n");
	fake_expect(BODY ".\r\n");
	fake_says("250 ok\r\n");
	fake_expect("MAIL FROM:<s@x.example>\r\nRCPT TO:<r2@y.example>\r\nDATA\r\n");
	fake_says(TO_DATA);
	fake_says("250 ok\r\n");
	fake_says(TO_DATA);
	fake_says("250 ok\r\n");
	assert_int_equal(fake.nresults, 3);
	for (unsigned i = 0; i < 3; i++)
		result_is(i, GA_RESULT_SUCCESS, 250, "");
	assert_int_equal(fake.connects, 1);
}

static void
test_a_large_batch_is_split_at_the_limit(void **state)
{
	fake.settings.conf.max_recipients_per_delivery = 2;
	open_to(1, 5);
	session(PIPES);
	for (int i = 0; i < 2; i++) {
		fake_says("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
		fake_says("250 ok\r\n");
	}
	assert_int_equal(fake.nresults, 4);
	fake.ntx = 0;
	fake_says(TO_DATA);
	fake_says("250 ok\r\n");
	assert_int_equal(fake.nresults, 5);
	assert_int_equal(fake.connects, 1);
	fake_expect(BODY ".\r\nQUIT\r\n");
}

static void
test_a_reply_to_the_dot_before_the_dot_is_a_peer_out_of_step(void **state)
{
	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA "250 ok\r\n");
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.5.0");
	assert_int_equal(fake.closed, 1);
	assert_int_equal(fake.dones, 0);
}

static void
test_dot_waits_for_the_done_of_the_transaction_before(void **state)
{
	fake.settings.conf.reuse_connections = true;
	fake.hold_dones = true;
	open_to(1, 1);
	session(PIPES);
	more_for("y.example", false);
	fake_says(TO_DATA);
	fake.ntx = 0;
	fake_says("250 ok\r\n");
	fake_expect(GROUP);
	fake_says(TO_DATA);
	fake_expect(BODY);
	assert_int_equal(fake.nresults, 0);
	fake_durable();
	assert_int_equal(fake.nresults, 1);
	assert_true(fake.results[0].recorded);
	fake_expect(".\r\n");
	fake_says("250 ok\r\n");
	fake_durable();
	assert_int_equal(fake.nresults, 2);
}

static void
test_a_saved_connection_is_used_again_in_one_write(void **state)
{
	deliver_and_save();
	more_for("y.example", true);
	fake_expect(GROUP);
	fake_says(TO_DATA);
	fake_says("250 ok\r\n");
	assert_int_equal(fake.nresults, 2);
	assert_int_equal(fake.connects, 1);
	assert_int_equal(atomic_load(&smtpc.saved), 1);
}

static void
test_a_saved_connection_may_serve_another_domain_of_the_same_host(void **state)
{
	deliver_and_save();
	more_for("z.example", true);
	fake_expect("MAIL FROM:<s@x.example>\r\nRCPT TO:<r0@z.example>\r\nDATA\r\n");
}

/* offer() of a batch whose route differs in one thing must find nothing. */
static void
not_taken(struct ga_route *r)
{
	struct ga_batch b = fake_batch(r, BODY, 1, true);

	assert_false(fake_offer(b));
	fake_discard(b);
	ga_route_unref(r);
}

static void
test_what_differs_is_not_shared(void **state)
{
	static struct ga_settings other;
	struct ga_route *r;

	deliver_and_save();
	other = fake.settings;
	r = fake_route("z.example", 1);
	r->virtual_mta = GA_STR("ip-2");
	not_taken(r);
	r = fake_route("z.example", 1);
	r->mta_id = 3;
	not_taken(r);
	r = fake_route("z.example", 1);
	r->v4.hostname = GA_STR("other.example");
	not_taken(r);
	r = fake_route("z.example", 1);
	r->relay = true;
	not_taken(r);
	other.conf.starttls_require = true;
	r = fake_route("z.example", 1);
	r->settings = &other;
	not_taken(r);
	other = fake.settings;
	other.conf.starttls_use = false;
	r = fake_route("z.example", 1);
	r->settings = &other;
	not_taken(r);
	other = fake.settings;
	other.conf.reuse_connections_max_messages = 1;
	r = fake_route("z.example", 1);
	r->settings = &other;
	not_taken(r);
	other = fake.settings;
	other.conf.reuse_connections = false;
	r = fake_route("z.example", 1);
	r->settings = &other;
	not_taken(r);
	r = fake_route("z.example", 1);
	((struct sockaddr_in *)(void *)&r->v4.address.u.ss)->sin_addr.s_addr = htonl(0x7f000009);
	r->v4.address.u.sa.sa_family = AF_INET;
	r->v4.address.len = sizeof(struct sockaddr_in);
	not_taken(r);
	r = fake_route("z.example", 1);
	((struct sockaddr_in *)(void *)(size_t)&r->hosts[0].addresses[0].u.ss)->sin_port = htons(26);
	not_taken(r);
	r = fake_route("z.example", 1);
	((char *)(size_t)r->hosts[0].name.p)[2] = '7';
	not_taken(r);
	r = fake_route("z.example", 1);
	((struct sockaddr_in *)(void *)(size_t)&r->hosts[0].addresses[0].u.ss)->sin_addr.s_addr = 9;
	not_taken(r);
	assert_int_equal(atomic_load(&smtpc.saved), 1);
}

static void
test_a_saved_connection_found_closed_costs_the_ticket_nothing(void **state)
{
	deliver_and_save();
	more_for("y.example", true);
	fake_eof();
	session(PIPES);
	fake_says(TO_DATA);
	fake_says("250 ok\r\n");
	result_is(1, GA_RESULT_SUCCESS, 250, "");
	assert_int_equal(fake.closed, 0);
}

static void
test_421_to_the_mail_of_a_reused_connection_costs_nothing_either(void **state)
{
	deliver_and_save();
	more_for("y.example", true);
	fake.ntx = 0;
	fake_says("421 too many messages\r\n");
	session(PIPES);
	assert_int_equal(fake.nresults, 1);
}

static void
test_an_idle_connection_says_quit_when_its_time_is_over(void **state)
{
	deliver_and_save();
	fake_advance(29999);
	assert_false(fake_sent_anything());
	fake_advance(1);
	fake_expect("QUIT\r\n");
	fake_advance(5000);
	assert_int_equal(fake.closed, 1);
}

static void
test_a_saved_connection_that_the_peer_closes_is_gone(void **state)
{
	deliver_and_save();
	fake_eof();
	assert_int_equal(fake.closed, 1);
	assert_int_equal(atomic_load(&smtpc.saved), 0);
}

static void
test_unasked_words_end_a_saved_connection(void **state)
{
	deliver_and_save();
	fake_says("250 late reply\r\n");
	assert_int_equal(fake.closed, 1);
	assert_int_equal(fake.nresults, 1);
}

static void
test_max_messages_ends_with_quit(void **state)
{
	fake.settings.conf.reuse_connections_max_messages = 2;
	deliver_and_save();
	more_for("y.example", true);
	fake_says(TO_DATA);
	fake.ntx = 0;
	fake_says("250 ok\r\n");
	fake_expect("QUIT\r\n");
}

static void
test_starttls_then_ehlo_anew(void **state)
{
	open_to(1, 1);
	session("250-mx0\r\n250-PIPELINING\r\n250 STARTTLS\r\n");
	fake_expect("STARTTLS\r\n");
	fake_says("220 go\r\n");
	assert_int_equal(fake.handshakes, 1);
	fake_tls(NULL);
	fake_expect("EHLO mail.example\r\n");
	fake_says("250 mx0\r\n");
	/* PIPELINING was offered outside TLS only */
	fake_expect("MAIL FROM:<s@x.example>\r\n");
}

static void
test_failed_handshake_is_tried_once_more_in_clear(void **state)
{
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_says("220 go\r\n");
	fake.ntx = 0;
	fake_tls("bad certificate");
	assert_int_equal(fake.closes, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_expect("MAIL FROM:<s@x.example>\r\n");
}

static void
test_required_tls_never_falls_back(void **state)
{
	fake.settings.conf.starttls_require = true;
	open_to(1, 1);
	session("250 mx0\r\n");
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.7.4");
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_says("454 not now\r\n");
	result_is(1, GA_RESULT_DEFERRAL, 454, "");
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_says("220 go\r\n");
	fake_tls("bad record");
	result_is(2, GA_RESULT_DEFERRAL, 0, "4.7.5");
	assert_int_equal(fake.connects, 3);
	assert_null(memmem(fake.tx, fake.ntx, "MAIL", 4));
}

static void
test_plaintext_behind_220_ends_the_session(void **state)
{
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake_says("220 go\r\n250-fake\r\n250 AUTH PLAIN\r\n");
	assert_int_equal(fake.handshakes, 0);
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.5.0");
}

static void
test_refused_starttls_goes_on_in_clear(void **state)
{
	open_to(1, 1);
	session("250-mx0\r\n250 STARTTLS\r\n");
	fake.ntx = 0;
	fake_says("502 no\r\n");
	fake_expect("MAIL FROM:<s@x.example>\r\n");
}

static void
test_size_is_told_and_a_larger_message_is_not_sent(void **state)
{
	open_to(1, 1);
	session("250-mx0\r\n250 SIZE 1000\r\n");
	fake_expect("MAIL FROM:<s@x.example> SIZE=21\r\n");
	fake_eof();
	open_to(1, 1);
	session("250-mx0\r\n250 SIZE 20\r\n");
	fake_expect("QUIT\r\n");
	result_is(1, GA_RESULT_FAILURE, 0, "5.3.4");
}

static void
open_body(const char *body, bool in_memory)
{
	struct ga_route *r = fake_route("y.example", 1);

	fake_open(fake_batch(r, body, 1, in_memory));
	ga_route_unref(r);
}

static void
test_dots_are_doubled_and_the_last_line_ended(void **state)
{
	open_body(".\r\n..a\r\n.b", true);
	session(PIPES);
	fake.ntx = 0;
	fake_says(TO_DATA);
	fake_expect("..\r\n...a\r\n..b\r\n.\r\n");
}

static void
test_a_bare_lf_is_never_sent(void **state)
{
	open_body("a\r\n.\nb\r\n", true);
	session(PIPES);
	fake.ntx = 0;
	fake_says(TO_DATA);
	assert_null(memmem(fake.tx, fake.ntx, "\n", 1));
	result_is(0, GA_RESULT_FAILURE, 0, "5.6.0");
	assert_int_equal(fake.closed, 1);
}

static char *
large(size_t n)
{
	char *p = ga_xmalloc(n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = "a.b\r\n.cdef\r\n"[i % 12];
	p[n] = '\0';
	return p;
}

static void
test_a_large_body_is_read_in_pieces_and_arrives_whole(void **state)
{
	size_t n = 12 * 30000;
	char *body = large(n);

	open_body(body, false);
	assert_int_equal(fake.reads, 1);
	session(PIPES);
	fake.ntx = 0;
	fake.write_room = 1000;
	fake_says(TO_DATA);
	while (fake.stream != NULL && fake.write_room == 0) {
		fake.write_room = 1 + (size_t)random() % 30000;
		fake_says("");
	}
	assert_int_equal(fake.piece_reads, 3);
	assert_int_equal(fake.ntx, n + n / 12 + 3);
	assert_memory_equal(fake.tx, "a.b\r\n..cdef\r\n", 13);
	assert_memory_equal(fake.tx + fake.ntx - 5, "\r\n.\r\n", 5);
	fake_says("250 ok\r\n");
	result_is(0, GA_RESULT_SUCCESS, 250, "");
	free(body);
}

static void
test_a_receiver_that_takes_a_little_at_a_time_has_its_time_for_each_piece(void **state)
{
	uint64_t limit = fake.settings.conf.smtp_data_block_timeout;
	char *body = large(12 * 3000);

	open_body(body, true);
	session(PIPES);
	fake.write_room = 1000;
	fake_says(TO_DATA);
	for (int i = 0; i < 5; i++) {
		fake_advance(limit - 1000);
		fake.write_room = 1000;
		fake_says("");
	}
	assert_int_equal(fake.nresults, 0);
	fake_advance(limit + 1000);
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.4.2");
	free(body);
}

static void
test_a_refusal_while_the_message_is_sent_is_the_result(void **state)
{
	char *body = large(12 * 3000);

	open_body(body, true);
	session(PIPES);
	fake.write_room = 500;
	fake_says(TO_DATA);
	fake_says("552 5.3.4 too big\r\n");
	result_is(0, GA_RESULT_FAILURE, 552, "5.3.4");
	assert_int_equal(fake.closed, 1);
	free(body);
}

static void
test_2yz_to_data_is_a_peer_out_of_step(void **state)
{
	open_to(1, 1);
	session(PIPES);
	fake_says("250 ok\r\n250 ok\r\n250 ok\r\n");
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.5.0");
	assert_int_equal(fake.closed, 1);
}

static void
test_a_dripping_reply_is_cut_by_its_deadline(void **state)
{
	open_to(1, 1);
	fake_accept();
	for (int i = 0; i < 299; i++) {
		fake_says(i == 0 ? "220-x" : "x");
		fake_advance(1000);
	}
	assert_int_equal(fake.nresults, 0);
	fake_advance(1001);
	assert_int_equal(fake.nresults, 1);
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.4.2");
}

static void
test_a_stop_recalls_what_has_not_begun_and_finishes_the_rest(void **state)
{
	open_to(1, 1);
	fake_drain();
	result_is(0, GA_RESULT_RECALLED, 0, "");
	assert_int_equal(fake.closed, 1);
}

static void
test_a_stop_lets_a_transaction_finish(void **state)
{
	fake.settings.conf.reuse_connections = true;
	open_to(1, 1);
	session(PIPES);
	fake_drain();
	fake_says(TO_DATA);
	fake.ntx = 0;
	fake_says("250 ok\r\n");
	result_is(0, GA_RESULT_SUCCESS, 250, "");
	fake_expect("QUIT\r\n");
}

static void
test_at_the_deadline_the_unsent_is_recalled_and_the_sent_deferred(void **state)
{
	struct ga_route *r = fake_route("y.example", 1);
	struct ga_batch b = fake_batch(r, BODY, 1, true);

	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA);
	fake_drain();
	fake_open(b);
	result_is(0, GA_RESULT_RECALLED, 0, "");
	fake_advance(20000);
	result_is(1, GA_RESULT_DEFERRAL, 0, "4.3.2");
	ga_route_unref(r);
}

static void
test_close_idle_makes_room(void **state)
{
	deliver_and_save();
	assert_true(smtpc_close_idle(NULL, ga_worker_self()));
	assert_false(smtpc_close_idle(NULL, ga_worker_self()));
	fake_expect("QUIT\r\n");
	fake_says("221 bye\r\n");
	assert_int_equal(fake.closed, 1);
}

static void
test_equal_preferences_are_shuffled_and_others_kept_in_order(void **state)
{
	struct ga_route *r = fake_route("y.example", 4);
	struct smtpc_target t[SMTPC_TARGETS];
	unsigned first[4] = { 0 };
	double chi = 0;

	for (unsigned i = 0; i < 4; i++)
		((struct ga_route_host *)(size_t)&r->hosts[i])->preference = i < 3 ? 10 : 20;
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(smtpc_targets(r, 5, t), 4);
		assert_int_equal(t[3].host, 3);
		first[t[0].host]++;
	}
	for (unsigned i = 0; i < 3; i++)
		chi += ((double)first[i] - 1000) * ((double)first[i] - 1000) / 1000;
	assert_true(chi < 13.8);	/* 2 degrees of freedom, p = 0.001 */
	ga_route_unref(r);
}

static void
test_a_family_without_source_is_left_out_when_the_other_has_one(void **state)
{
	struct ga_route *r = fake_route("y.example", 1);
	struct smtpc_target t[SMTPC_TARGETS];

	assert_int_equal(smtpc_targets(r, 5, t), 1);
	r->v6.address.len = 28;
	assert_int_equal(smtpc_targets(r, 5, t), 0);
	r->v4.address.len = 16;
	assert_int_equal(smtpc_targets(r, 5, t), 1);
	ga_route_unref(r);
}

static void
test_outgoing_edits_what_is_sent(void **state)
{
	fake_hook(GA_PASS, "Edited: yes\r\n\r\n");
	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA);
	fake_expect(GROUP "Edited: yes\r\n\r\n.\r\n");
	assert_int_equal(fake.asked, 1);
}

static void
test_outgoing_rejects_before_anything_is_sent(void **state)
{
	fake_hook(GA_REJECT, NULL);
	open_to(1, 2);
	assert_int_equal(fake.nresults, 2);
	result_is(0, GA_RESULT_FAILURE, 0, "5.7.1");
	session(PIPES);
	fake_expect("QUIT\r\n");
}

static void
test_outgoing_takes_its_time(void **state)
{
	fake_hook(GA_SUSPENDED_, "Edited: yes\r\n\r\n");
	open_to(1, 1);
	session(PIPES);
	assert_false(fake_sent_anything());
	fake_answer(GA_PASS);
	fake_expect(GROUP);
}

static void
test_outgoing_is_told_when_the_connection_is_gone(void **state)
{
	fake_hook(GA_SUSPENDED_, NULL);
	open_to(1, 1);
	fake_refuse();
	assert_int_equal(fake.cancelled, 1);
	result_is(0, GA_RESULT_DEFERRAL, 0, "4.4.1");
}

static void
test_a_large_message_is_read_whole_for_outgoing(void **state)
{
	char *body = large(12 * 30000);

	fake_hook(GA_PASS, "Short: yes\r\n\r\n");
	open_body(body, false);
	session(PIPES);
	fake_says(TO_DATA);
	fake_expect(GROUP "Short: yes\r\n\r\n.\r\n");
	assert_int_equal(fake.piece_reads, 0);
	free(body);
}

static void
test_messages_refused_here_one_after_another_keep_the_connection(void **state)
{
	fake.settings.conf.reuse_connections = true;
	open_to(1, 1);
	session("250-mx0\r\n250 SIZE 20\r\n");
	result_is(0, GA_RESULT_FAILURE, 0, "5.3.4");
	for (int i = 0; i < 10; i++)
		more_for("y.example", true);
	assert_int_equal(fake.nresults, 11);
	assert_false(fake_sent_anything());
	assert_int_equal(fake.connects, 1);
	assert_int_equal(atomic_load(&smtpc.saved), 1);
}

static void
test_what_follows_a_message_refused_here_is_sent_once(void **state)
{
	fake.settings.conf.reuse_connections = true;
	open_body("Subject: long\r\n\r\nA long message\r\n", true);
	more_for("y.example", false);
	session("250-mx0\r\n250-PIPELINING\r\n250 SIZE 25\r\n");
	result_is(0, GA_RESULT_FAILURE, 0, "5.3.4");
	fake_expect("MAIL FROM:<s@x.example> SIZE=21\r\nRCPT TO:<r0@y.example>\r\nDATA\r\n");
}

static void
test_what_follows_a_message_that_outgoing_refused_late_is_sent_once(void **state)
{
	fake.settings.conf.reuse_connections = true;
	fake_hook(GA_SUSPENDED_, NULL);
	open_to(1, 1);
	session(PIPES);
	fake.verdict = GA_PASS;
	more_for("y.example", false);
	fake_answer(GA_REJECT);
	result_is(0, GA_RESULT_FAILURE, 0, "5.7.1");
	fake_expect(GROUP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_message_without_pipelining),
		TEST(test_pipelined_group_is_one_write_and_replies_map_by_position),
		TEST(test_nobody_left_and_354_gets_the_dot_alone),
		TEST(test_refused_mail_with_accepted_rcpt_never_sends_a_dot),
		TEST(test_all_refused_sends_no_data),
		TEST(test_refused_ehlo_becomes_helo),
		TEST(test_next_host_after_refusal_of_connection_greeting_and_421),
		TEST(test_5yz_greeting_everywhere_is_a_deferral_with_that_reply),
		TEST(test_no_more_addresses_than_max_connect_attempts),
		TEST(test_route_without_hosts_is_a_deferral_and_frees_the_slot),
		TEST(test_closed_or_silent_after_the_dot_is_a_deferral),
		TEST(test_421_at_the_dot_is_temporary),
		TEST(test_too_many_recipients_go_in_the_next_transaction_at_once),
		TEST(test_a_large_batch_is_split_at_the_limit),
		TEST(test_a_reply_to_the_dot_before_the_dot_is_a_peer_out_of_step),
		TEST(test_dot_waits_for_the_done_of_the_transaction_before),
		TEST(test_a_saved_connection_is_used_again_in_one_write),
		TEST(test_a_saved_connection_may_serve_another_domain_of_the_same_host),
		TEST(test_what_differs_is_not_shared),
		TEST(test_a_saved_connection_found_closed_costs_the_ticket_nothing),
		TEST(test_421_to_the_mail_of_a_reused_connection_costs_nothing_either),
		TEST(test_an_idle_connection_says_quit_when_its_time_is_over),
		TEST(test_a_saved_connection_that_the_peer_closes_is_gone),
		TEST(test_unasked_words_end_a_saved_connection),
		TEST(test_max_messages_ends_with_quit),
		TEST(test_starttls_then_ehlo_anew),
		TEST(test_failed_handshake_is_tried_once_more_in_clear),
		TEST(test_required_tls_never_falls_back),
		TEST(test_plaintext_behind_220_ends_the_session),
		TEST(test_refused_starttls_goes_on_in_clear),
		TEST(test_size_is_told_and_a_larger_message_is_not_sent),
		TEST(test_dots_are_doubled_and_the_last_line_ended),
		TEST(test_a_bare_lf_is_never_sent),
		TEST(test_a_large_body_is_read_in_pieces_and_arrives_whole),
		TEST(test_a_receiver_that_takes_a_little_at_a_time_has_its_time_for_each_piece),
		TEST(test_a_refusal_while_the_message_is_sent_is_the_result),
		TEST(test_2yz_to_data_is_a_peer_out_of_step),
		TEST(test_a_dripping_reply_is_cut_by_its_deadline),
		TEST(test_a_stop_recalls_what_has_not_begun_and_finishes_the_rest),
		TEST(test_a_stop_lets_a_transaction_finish),
		TEST(test_at_the_deadline_the_unsent_is_recalled_and_the_sent_deferred),
		TEST(test_close_idle_makes_room),
		TEST(test_outgoing_edits_what_is_sent),
		TEST(test_outgoing_rejects_before_anything_is_sent),
		TEST(test_outgoing_takes_its_time),
		TEST(test_outgoing_is_told_when_the_connection_is_gone),
		TEST(test_a_large_message_is_read_whole_for_outgoing),
		TEST(test_messages_refused_here_one_after_another_keep_the_connection),
		TEST(test_what_follows_a_message_refused_here_is_sent_once),
		TEST(test_what_follows_a_message_that_outgoing_refused_late_is_sent_once),
		TEST(test_equal_preferences_are_shuffled_and_others_kept_in_order),
		TEST(test_a_family_without_source_is_left_out_when_the_other_has_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
