/*
 * test_variables.c - variables of a session: where they come from and what they do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dialogue.h"

#define NAMED "PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n"

/* What connect saw: "192.0.2.7 A=1 B=", and "unnamed" in place of an address. */
static char seen[200];
static unsigned asked;
/* What it sets: NAME, value, NAME, value, ... NULL. */
static const char *const *sets;

static void
note(const char *name, bool there, struct ga_str value)
{
	size_t n = strlen(seen);

	if (there)
		snprintf(seen + n, sizeof seen - n, " %s=%.*s", name, (int)value.n, value.p);
}

static enum ga_verdict
see_connect(struct ga_call *c, const struct ga_ev_connect *ev)
{
	struct ga_str value;

	assert_ptr_equal(ga_call_session(c), ev->s);
	asked++;
	snprintf(seen, sizeof seen, "%.*s", ev->unnamed ? 7 : (int)ev->peer.text.n,
	    ev->unnamed ? "unnamed" : ev->peer.text.p);
	for (const char *const *name = (const char *const []){ "A", "B", "C", NULL }; *name != NULL; name++)
		note(*name, ga_session_variable(ev->s, ga_str_c(*name), &value), value);
	for (size_t i = 0; sets != NULL && sets[i] != NULL; i += 2)
		ga_session_variable_set(ev->s, ga_str_c(sets[i]), ga_str_c(sets[i + 1]));
	return GA_PASS;
}

/* A world whose service has that environment_file; nobody has connected. */
static struct world *
with_environment(const char *statements, const char *environment)
{
	char path[] = "/tmp/ga-env-XXXXXX", text[300];
	int fd = mkstemp(path);
	struct world *w;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, environment, strlen(environment)), strlen(environment));
	close(fd);
	snprintf(text, sizeof text, "%senvironment_file %s\n", statements, path);
	w = world_new(text);
	unlink(path);
	w->relays = false;
	seen[0] = '\0';
	asked = 0;
	sets = NULL;
	world_hook(w, GA_HOOK_connect, (void (*)(void))see_connect);
	return w;
}

static void
end(struct world *w)
{
	world_disconnect(w);
	world_free(w);
}

/* --- where they come from --- */

static void
test_connect_sees_what_the_environment_exports(void **state)
{
	struct world *w = with_environment("", "export A=1\nexport B=\nC=3\nexport A=2\n");

	world_connect(w);
	expect(w, "", "220 test\r\n");
	assert_string_equal(seen, "192.0.2.1 A=2 B=");
	end(w);
}

static void
test_connect_is_asked_about_the_client_behind_a_proxy(void **state)
{
	struct world *w = with_environment("incoming_smtp_accept_proxy_protocol 192.0.2.1\n", "export A=1\n");

	w->proxied = true;
	world_connect(w);
	assert_int_equal(asked, 0);
	expect(w, "PROXY TCP4 192.0.2.7 192.0.2.2 4711 25\r\n", "220 test\r\n");
	assert_string_equal(seen, "192.0.2.7 A=1");
	world_disconnect(w);
	world_connect(w);
	expect(w, "PROXY UNKNOWN\r\n", "220 test\r\n");
	assert_string_equal(seen, "unnamed A=1");
	assert_int_equal(asked, 2);
	end(w);
}

static void
test_another_client_has_none_of_the_variables_of_the_one_before(void **state)
{
	static const char *const first[] = { "A", "9", "C", "", NULL };
	struct world *w = with_environment("xclient_from 192.0.2.1\n", "export A=1\n");

	sets = first;
	world_connect(w);
	expect(w, HELLO, "220 test\r\n250-");
	sets = NULL;
	expect(w, "XCLIENT ADDR=192.0.2.7\r\n", "220 test\r\n");
	assert_string_equal(seen, "192.0.2.7 A=1");
	expect(w, "XCLIENT ADDR=[UNAVAILABLE]\r\n", "220 test\r\n");
	assert_string_equal(seen, "unnamed A=1");
	assert_int_equal(asked, 3);
	end(w);
}

/* --- who may relay --- */

static void
try_to_relay(struct world *w, const char *answer)
{
	expect(w, HELLO "MAIL FROM:<>\r\n", "250");
	expect(w, "RCPT TO:<b@example.net>\r\n", answer);
	expect(w, "RSET\r\n", "250");
}

static void
test_relayclient_lets_its_client_relay_and_no_other(void **state)
{
	static const char *const relay[] = { "RELAYCLIENT", "", NULL };
	struct world *w = with_environment("xclient_from 192.0.2.1\n", "RELAYCLIENT=not_exported\n");

	sets = relay;
	world_connect(w);
	expect(w, "", "220 test\r\n");
	try_to_relay(w, "250 2.1.5");
	sets = NULL;
	expect(w, "XCLIENT NAME=c.example\r\n", "220 test\r\n");
	try_to_relay(w, "550 5.7.1");
	sets = relay;
	expect(w, "XCLIENT ADDR=192.0.2.7\r\n", "220 test\r\n");
	try_to_relay(w, "250 2.1.5");
	end(w);
}

static void
test_a_service_that_exports_relayclient_relays_for_all(void **state)
{
	struct world *w = with_environment("", "export RELAYCLIENT=\n");

	world_connect(w);
	expect(w, "", "220 test\r\n");
	try_to_relay(w, "250 2.1.5");
	end(w);
}

static void
test_who_relays_by_a_variable_may_speak_early(void **state)
{
	struct world *w = with_environment("incoming_smtp_accept_proxy_protocol 192.0.2.1\n", "export RELAYCLIENT=\n");

	w->proxied = true;
	world_connect(w);
	expect(w, NAMED HELLO, "220 test\r\n250-test\r\n");
	end(w);
}

/* --- how many sessions --- */

/* A client of a proxy, whose address has as many sessions as it may. */
static struct world *
crowded(struct ga_sockaddr *peer, struct smtpd_client **client)
{
	struct world *w = with_environment("incoming_smtp_accept_proxy_protocol 192.0.2.1\n"
	    "max_connections_per_client 1\n", "");

	assert_true(ga_sockaddr_parse(peer, GA_STR("192.0.2.7:1"), 0));
	assert_true(smtpd_limits_count(&w->service.limits, peer, 1, client));
	w->proxied = true;
	return w;
}

static void
test_sessions_of_who_relays_by_a_variable_are_not_counted(void **state)
{
	static const char *const relay[] = { "RELAYCLIENT", "", NULL };
	struct smtpd_client *client, *other;
	struct ga_sockaddr peer;
	struct world *w = crowded(&peer, &client);

	world_connect(w);
	expect(w, NAMED, "421 4.7.0");
	assert_int_equal(atomic_load(&w->service.count.refused), 1);
	world_disconnect(w);
	sets = relay;
	world_connect(w);
	expect(w, NAMED, "220 test\r\n");
	smtpd_limits_uncount(client);
	assert_true(smtpd_limits_count(&w->service.limits, &peer, 1, &other));
	smtpd_limits_uncount(other);
	world_disconnect(w);
	world_connect(w);			/* now it is counted at first, and then no more */
	expect(w, NAMED, "220 test\r\n");
	assert_true(smtpd_limits_count(&w->service.limits, &peer, 1, &other));
	smtpd_limits_uncount(other);
	end(w);
}

static struct ga_token token;

static enum ga_verdict
thinks(struct ga_call *c, const struct ga_ev_connect *ev)
{
	static const struct ga_wait wait = { .size = sizeof wait, .timeout_ms = 60000, .label = "test" };

	return see_connect(c, ev) == GA_PASS ? ga_suspend(c, &wait, &token) : GA_PASS;
}

static void
test_nobody_waits_for_a_module_with_sessions_too_many(void **state)
{
	struct smtpd_client *client;
	struct ga_sockaddr peer;
	struct world *w = crowded(&peer, &client);

	world_hook(w, GA_HOOK_connect, (void (*)(void))thinks);
	world_connect(w);
	expect(w, NAMED, "421 4.7.0");
	smtpd_limits_uncount(client);
	end(w);
}

/* --- recipients --- */

static void
assert_recipient(const char *value, const char *said, const char *stored)
{
	const char *const relay[] = { "RELAYCLIENT", value, NULL };
	struct world *w = with_environment("postmaster_address admin@example.org\n", "");
	char line[200];

	sets = relay;
	world_connect(w);
	expect(w, HELLO "MAIL FROM:<>\r\n", "220 test\r\n250");
	snprintf(line, sizeof line, "RCPT TO:<%s>\r\n", said);
	expect(w, line, stored != NULL ? "250 2.1.5" : "451 4.3.5");
	if (stored != NULL) {
		expect(w, "DATA\r\n" TEXT ".\r\n", "354");
		assert_str(last_message(w)->rcpts, stored);
	}
	end(w);
}

static void
test_what_relayclient_says_is_appended_to_each_address(void **state)
{
	assert_recipient("", "b@example.net", "b@example.net");
	assert_recipient(".fix.example", "b@example.net", "b@example.net.fix.example");
	assert_recipient("@fix.example", "b@example.net", "\"b@example.net\"@fix.example");
	assert_recipient("@fix.example", "\"b \\\"c\"@example.net", "\"b \\\"c@example.net\"@fix.example");
	assert_recipient("+\"x@fix.example", "b@example.net", "\"b@example.net+\\\"x\"@fix.example");
	assert_recipient("@fix.example", "postmaster", "\"admin@example.org\"@fix.example");
	assert_recipient(" no address", "b@example.net", NULL);
	assert_recipient("@", "b@example.net", NULL);
}

/* --- size --- */

static void
assert_size(const char *databytes, const char *announced, unsigned long long most)
{
	struct world *w = with_environment("max_message_size 2000\nmax_errors 1000\n", "export RELAYCLIENT=\n");
	const char *const size[] = { "DATABYTES", databytes, NULL };
	char line[100];

	sets = size;
	world_connect(w);
	expect(w, HELLO, "220 test\r\n");
	expect(w, HELLO, announced);
	snprintf(line, sizeof line, "MAIL FROM:<> SIZE=%llu\r\n", most + 1);
	expect(w, line, "552 5.3.4");
	snprintf(line, sizeof line, "MAIL FROM:<> SIZE=%llu\r\nRSET\r\n", most);
	expect(w, line, "250 2.1.0");
	end(w);
}

static void
test_databytes_stands_in_for_max_message_size(void **state)
{
	assert_size("1500", "250-test\r\n250 SIZE 1500\r\n", 1500);
	assert_size("30000", "250-test\r\n250 SIZE 30000\r\n", 30000);
	assert_size("99999999999999999999999", "250-test\r\n250 SIZE 2146435072\r\n", 2146435072);
	/* the service's own */
	assert_size("0", "250-test\r\n250 SIZE\r\n", 2000);
	assert_size("", "250-test\r\n250 SIZE\r\n", 2000);
	assert_size("10MB", "250-test\r\n250 SIZE\r\n", 2000);
}

static void
test_a_message_larger_than_databytes_is_refused(void **state)
{
	struct world *w = with_environment("", "export RELAYCLIENT=\nexport DATABYTES=19\n");

	world_connect(w);
	expect(w, HELLO, "220 test\r\n");
	expect(w, BEGIN, "250");
	expect(w, "Subject: hi\r\n\r\nbod\r\n.\r\n", "552 5.3.4");	/* 20 */
	expect(w, BEGIN, "250");
	expect(w, "Subject: hi\r\n\r\nbo\r\n.\r\n", "250 2.0.0");
	expect(w, ENVELOPE "BDAT 20\r\n12345678901234567890RSET\r\n", "250 2.1.0 Sender OK\r\n250 2.1.5 Recipient OK\r\n552 5.3.4");
	end(w);
}

/* --- the message --- */

static void
assert_class(const char *environment, const char *text, const char *class)
{
	struct world *w = with_environment("", environment);
	struct ga_str found = GA_STR("");

	world_connect(w);
	expect(w, HELLO, "220 test\r\n");
	expect(w, BEGIN, "250");
	expect(w, text, "250 2.0.0");
	ga_attr_get(last_message(w)->attrs, GA_ATTR_MAIL_CLASS, &found);
	assert_str(found, class);
	end(w);
}

#define RELAYS "export RELAYCLIENT=\n"

static void
test_the_mail_class_of_a_client(void **state)
{
	static const char plain[] = TEXT ".\r\n", chooses[] = "X-GreenArrow-MailClass: other\r\n" TEXT ".\r\n";

	assert_class(RELAYS "export GREENARROW_MAILCLASS=partner\n", plain, "partner");
	assert_class(RELAYS "export GREENARROW_MAILCLASS=partner\n", chooses, "other");
	assert_class(RELAYS "export GREENARROW_MAILCLASS='no class'\n", plain, "");
	assert_class(RELAYS "export GREENARROW_MAILCLASS=\n", plain, "");
}

static void
test_received_hides_the_client_where_it_is_told_to(void **state)
{
	static const char *const environment[] = { RELAYS, RELAYS "export GREENARROW_SMTP_RECEIVED_HIDE=\n" };

	for (int hides = 0; hides <= 1; hides++) {
		struct world *w = with_environment("", environment[hides]);
		const char *field;

		world_connect(w);
		expect(w, HELLO, "220 test\r\n");
		expect(w, BEGIN, "250");
		expect(w, TEXT ".\r\n", "250 2.0.0");
		field = last_message(w)->text.p;
		assert_int_equal(strncmp(field, "Received: by ", 13) == 0, hides);
		assert_int_equal(strstr(field, "192.0.2.1") == NULL, hides);
		assert_int_equal(strstr(field, "client.example") == NULL, hides);
		assert_non_null(strstr(field, " with ESMTP id 00000001\r\n\tfor <b@example.net>;\r\n"));
		end(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect_sees_what_the_environment_exports),
		cmocka_unit_test(test_connect_is_asked_about_the_client_behind_a_proxy),
		cmocka_unit_test(test_another_client_has_none_of_the_variables_of_the_one_before),
		cmocka_unit_test(test_relayclient_lets_its_client_relay_and_no_other),
		cmocka_unit_test(test_a_service_that_exports_relayclient_relays_for_all),
		cmocka_unit_test(test_who_relays_by_a_variable_may_speak_early),
		cmocka_unit_test(test_sessions_of_who_relays_by_a_variable_are_not_counted),
		cmocka_unit_test(test_nobody_waits_for_a_module_with_sessions_too_many),
		cmocka_unit_test(test_what_relayclient_says_is_appended_to_each_address),
		cmocka_unit_test(test_databytes_stands_in_for_max_message_size),
		cmocka_unit_test(test_a_message_larger_than_databytes_is_refused),
		cmocka_unit_test(test_the_mail_class_of_a_client),
		cmocka_unit_test(test_received_hides_the_client_where_it_is_told_to),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
