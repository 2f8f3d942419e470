/*
 * test_auth.c - AUTH dialogues with the real session, see world.h.
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

#include "../auth.h"
#include "../base64.h"
#include "../scram.h"
#include "dialogue.h"

/* ann: "pencil", bob: "secret" and a mail class, carl: locked out */
#define USERS "ann:{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=," \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n" \
	"bob:$6$rounds=5000$usesomesillystri$TlTQnEbjsMwTVvhjjUdxkyNN7fwT77l4qSCIjUbLtSbLuXZXjZyIcpPIYdbSbewOeU5OCbhxvK8tK3BOQBBAb.:newsletter\n" \
	"carl:!$6$rounds=5000$usesomesillystri$TlTQnEbjsMwTVvhjjUdxkyNN7fwT77l4qSCIjUbLtSbLuXZXjZyIcpPIYdbSbewOeU5OCbhxvK8tK3BOQBBAb.\n"
#define OPEN "smtp_auth optional\nsmtp_auth_without_tls yes\nsmtpd_auth_delay 0s\n"

static char users_path[] = "/tmp/ga-users-XXXXXX";

static int
make_users(void **state)
{
	int fd = mkstemp(users_path);

	return fd >= 0 && write(fd, USERS, sizeof USERS - 1) == sizeof USERS - 1 && close(fd) == 0 ? 0 : -1;
}

static int
remove_users(void **state)
{
	return unlink(users_path);
}

/* A session after EHLO, of a client that may not relay by its address. */
static struct world *
with(const char *statements)
{
	char text[1024];
	struct world *w;

	snprintf(text, sizeof text, "%s\nsmtp_users_file \"%s\"\n", statements, users_path);
	w = world_new(text);
	w->relays = false;
	world_connect(w);
	expect(w, "", "220 test\r\n");
	expect(w, HELLO, "250-");
	return w;
}

/* "PREFIX base64 CRLF", where PREFIX is a command or nothing. */
static const char *
line_of(const char *prefix, const char *octets, size_t n)
{
	static char text[40000];
	size_t at = (size_t)snprintf(text, sizeof text, "%s", prefix);

	at += smtpd_base64_encode((const unsigned char *)octets, n, text + at);
	memcpy(text + at, "\r\n", 3);
	return text;
}

#define PLAIN(octets) line_of("AUTH PLAIN ", octets, sizeof(octets) - 1)
#define LINE(octets) line_of("", octets, sizeof(octets) - 1)

static void
expect_anonymous(struct world *w)
{
	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	expect(w, "RCPT TO:<b@example.net>\r\n", "550 5.7.1");
	expect(w, "RSET\r\n", "250");
}

static void
expect_relaying(struct world *w)
{
	expect(w, "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n", "250 2.1.0");
	expect(w, "Subject: x\r\n\r\n.\r\n", "250 2.0.0");
}

static struct ga_str
attribute(const struct world *w, unsigned key)
{
	struct ga_str v = { "", 0 };

	ga_attr_get(w->messages[w->nmessages - 1].attrs, key, &v);
	return v;
}

/* --- who gets in --- */

static void
test_plain_lets_the_client_relay(void **state)
{
	struct world *w = with(OPEN);

	expect_anonymous(w);
	expect(w, PLAIN("\0ann\0pencil"), "235 2.7.0");
	expect_relaying(w);
	assert_non_null(strstr(w->messages[0].text.p, " with ESMTPA id "));
	assert_true(ga_str_eq(attribute(w, GA_ATTR_AUTH_USER), GA_STR("ann")));
	assert_int_equal(attribute(w, GA_ATTR_MAIL_CLASS).n, 0);
	world_free(w);
}

static void
test_plain_in_two_lines_and_with_its_own_identity(void **state)
{
	struct world *w = with(OPEN);

	expect(w, "AUTH PLAIN\r\n", "334 \r\n");
	expect(w, LINE("bob\0bob\0secret"), "235 2.7.0");
	expect_relaying(w);
	assert_true(ga_str_eq(attribute(w, GA_ATTR_AUTH_USER), GA_STR("bob")));
	assert_true(ga_str_eq(attribute(w, GA_ATTR_MAIL_CLASS), GA_STR("newsletter")));
	world_free(w);
}

static void
test_login_asks_for_name_and_password(void **state)
{
	struct world *w = with(OPEN);

	expect(w, "AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n");
	expect(w, LINE("bob"), "334 UGFzc3dvcmQ6\r\n");
	expect(w, LINE("secret"), "235 2.7.0");
	expect_relaying(w);
	world_free(w);
	w = with(OPEN);
	expect(w, "auth login Ym9i\r\n", "334 UGFzc3dvcmQ6\r\n");	/* the name at once */
	expect(w, LINE("secret"), "235 2.7.0");
	world_free(w);
}

static void
test_auth_over_tls_is_told_in_the_trace_field(void **state)
{
	struct world *w = with("smtp_auth optional\n");

	w->gen->tls = (struct ga_tls_server *)(void *)w;
	expect(w, PLAIN("\0ann\0pencil"), "538 5.7.11");
	expect(w, "STARTTLS\r\n", "220");
	assert_true(w->tls_on);
	expect(w, HELLO, "250-test\r\n250-AUTH PLAIN LOGIN");
	expect(w, PLAIN("\0ann\0pencil"), "235");
	expect_relaying(w);
	assert_non_null(strstr(w->messages[0].text.p, " with ESMTPSA id "));
	w->gen->tls = NULL;
	world_free(w);
}

static void
test_an_exchange_arrives_however_its_octets_are_cut(void **state)
{
	static const char all[] = "AUTH LOGIN\r\nYm9i\r\nc2VjcmV0\r\nMAIL FROM:<a@example.org>\r\nQUIT\r\n";

	for (size_t piece = 1; piece < 30; piece++) {
		struct world *w = with(OPEN);

		w->piece = piece;
		expect(w, all, "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n235 2.7.0 Authentication successful\r\n"
		    "250 2.1.0 Sender OK\r\n221 2.0.0 Bye\r\n");
		world_free(w);
	}
}

static void
test_who_does_not_get_in(void **state)
{
	static const struct { const char *p; size_t n; } rows[] = {
		{ "\0ann\0pencils", 12 }, { "\0ann\0", 5 }, { "\0\0", 2 }, { "\0nobody\0pencil", 14 },
		{ "\0carl\0secret", 12 }, { "bob\0ann\0pencil", 14 }, { "\0ANN\0pencil", 11 },
		{ "\0\0pencil", 8 }, { "\0ann \0pencil", 12 }, { "\0bob\0pencil", 11 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct world *w = with(OPEN);

		expect(w, line_of("AUTH PLAIN ", rows[i].p, rows[i].n), "535 5.7.8");
		expect_anonymous(w);
		expect(w, PLAIN("\0ann\0pencil"), "235");
		world_free(w);
	}
}

/* --- what is wrong with it --- */

static void
test_auth_has_its_time(void **state)
{
	struct world *w = with(OPEN);

	expect(w, "MAIL FROM:<a@example.org>\r\n", "250");
	expect(w, PLAIN("\0ann\0pencil"), "503 5.5.1");
	expect(w, "RSET\r\n", "250");
	expect(w, PLAIN("\0ann\0pencil"), "235");
	expect(w, PLAIN("\0ann\0pencil"), "503 5.5.1");
	expect(w, HELLO, "250-test\r\n250 SIZE\r\n");		/* no AUTH any more */
	expect_relaying(w);
	world_free(w);

	w = with(OPEN);
	expect(w, "HELO client.example\r\n", "250");
	expect(w, PLAIN("\0ann\0pencil"), "503 5.5.1");
	world_free(w);

	w = with("");
	expect(w, PLAIN("\0ann\0pencil"), "502 5.5.1");
	world_free(w);
}

static void
test_errors_of_the_exchange(void **state)
{
	static const struct { const char *send, *reply; } rows[] = {
		{ "AUTH\r\n", "501 5.5.4" }, { "AUTH CRAM-MD5\r\n", "504 5.5.4" },
		{ "AUTH PLAINX AA==\r\n", "504 5.5.4" }, { "AUTH =\r\n", "504 5.5.4" },
		{ "AUTH PLAIN !\r\n", "501 5.5.2" }, { "AUTH PLAIN AA\r\n", "501 5.5.2" },
		{ "AUTH PLAIN A\r\n", "501 5.5.2" }, { "AUTH PLAIN AAA\r\n", "501 5.5.2" },
		{ "AUTH PLAIN AA==\r\n", "501 5.5.2" },	/* one NUL: not PLAIN */
		{ "AUTH PLAIN AAAAAA==\r\n", "501 5.5.2" },	/* four */
		{ "AUTH PLAIN AG FubgBwZW5jaWw=\r\n", "501 5.5.2" },
		{ "AUTH PLAIN AB==\r\n", "501 5.5.2" },		/* hidden bits */
		{ "AUTH PLAIN =\r\n", "501 5.5.2" },		/* empty: not PLAIN either */
		{ "AUTH LOGIN AA==\r\n", "501 5.5.2" },		/* NUL in a name */
		{ "AUTH PLAIN\r\n*\r\n", "334 \r\n501 5.7.0" },
		{ "AUTH PLAIN\r\n=\r\n", "334 \r\n501 5.5.2" },	/* only the command has = */
		{ "AUTH PLAIN\r\n\r\n", "334 \r\n501 5.5.2" },
		{ "AUTH PLAIN\r\nAG Fu\r\n", "334 \r\n501 5.5.2" },
		{ "AUTH PLAIN\r\n AA==\r\n", "334 \r\n501 5.5.2" },
		{ "AUTH PLAIN\r\nAA\r==\r\n", "334 \r\n501 5.5.2" },
		{ "AUTH PLAIN\r\nAA==\nNOOP\r\n", "334 \r\n500 5.5.2" },
		{ "AUTH LOGIN\r\n*\r\n", "334 VXNlcm5hbWU6\r\n501 5.7.0" },
		{ "AUTH LOGIN\r\nYm9i\r\n*\r\n", "334 VXNlcm5hbWU6\r\n334 UGFzc3dvcmQ6\r\n501 5.7.0" },
		{ "AUTH LOGIN =\r\n=\r\n", "334 UGFzc3dvcmQ6\r\n501 5.5.2" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct world *w = with(OPEN);

		expect(w, rows[i].send, rows[i].reply);
		expect(w, "NOOP\r\n", "250 2.0.0");		/* one reply each, back to commands */
		expect(w, PLAIN("\0ann\0pencil"), "235");
		world_free(w);
	}
}

static void
test_a_line_of_12288_octets_is_taken_and_one_more_is_not(void **state)
{
	static char octets[9300] = { 0 };
	char line[12400];
	struct world *w = with(OPEN);
	size_t n;

	/* AUTH PLAIN and its blanks: 11, CRLF: 2 */
	memset(octets, 'x', sizeof octets);
	octets[0] = octets[5] = '\0';
	n = (SMTPD_AUTH_LINE - 13) / 4 * 3;
	assert_true(strlen(line_of("AUTH PLAIN ", octets, n)) <= SMTPD_AUTH_LINE);
	expect(w, line_of("AUTH PLAIN ", octets, n), "535 5.7.8");
	expect(w, "AUTH PLAIN\r\n", "334");
	n = SMTPD_AUTH_LINE / 4 * 3 - 3;
	expect(w, line_of("", octets, n), "535 5.7.8");
	expect(w, "AUTH PLAIN\r\n", "334");
	memset(line, 'A', sizeof line);
	memcpy(line + SMTPD_AUTH_LINE - 1, "\r\n", 2);
	expect_n(w, line, SMTPD_AUTH_LINE + 1, "500 5.5.6");
	memcpy(line, "AUTH PLAIN ", 11);
	expect_n(w, line, SMTPD_AUTH_LINE + 1, "500 5.5.6");
	expect(w, "NOOP\r\n", "250");
	expect(w, PLAIN("\0ann\0pencil"), "235");
	world_free(w);
}

static void
test_an_auth_line_without_end_is_dropped_and_ends_the_session(void **state)
{
	struct world *w = with(OPEN);
	static char flood[80000];

	memset(flood, 'A', sizeof flood);
	expect(w, "AUTH PLAIN\r\n", "334");
	expect_n(w, flood, sizeof flood, "500 5.5.6");
	expect_n(w, flood, sizeof flood, "");
	assert_false(w->connected && w->worker->sessions->state == S_COMMAND);
	world_free(w);
}

static void
test_users_that_cannot_be_read_are_a_temporary_failure(void **state)
{
	struct world *w = world_new(OPEN "smtp_users_file /nonexistent/users\n");

	world_connect(w);
	expect(w, HELLO, "220");
	expect(w, PLAIN("\0ann\0pencil"), "454 4.7.0");
	expect(w, "AUTH SCRAM-SHA-256\r\n", "454 4.7.0");
	expect(w, "NOOP\r\n", "250");
	world_free(w);
}

/* --- limits --- */

static void
test_failures_of_a_session_end_it(void **state)
{
	struct world *w = with(OPEN "max_auth_failures 2\n");

	expect(w, PLAIN("\0ann\0a"), "535 5.7.8");
	expect(w, PLAIN("\0nobody\0b"),
	    "535 5.7.8 Authentication credentials are not valid\r\n421 4.7.0");
	world_free(w);
}

static void
test_failures_of_a_client_are_counted_over_its_sessions(void **state)
{
	struct world *w = with(OPEN "max_auth_failures 100\nmax_auth_failures_per_client 3\n");

	for (int i = 0; i < 3; i++) {
		expect(w, PLAIN("\0ann\0a"), "535 5.7.8");
		world_disconnect(w);
		world_connect(w);
		expect(w, HELLO, "220");
	}
	expect(w, PLAIN("\0ann\0pencil"), "454 4.7.0");		/* the right one too */
	world_free(w);
}

static void
test_a_refusal_takes_its_time_and_others_wait_behind_it(void **state)
{
	struct world *w = with("smtp_auth optional\nsmtp_auth_without_tls yes\nsmtpd_auth_delay 300ms\n");
	uint64_t before = ga_mono_us();

	expect(w, "AUTH PLAIN AG5vYm9keQB4\r\nNOOP\r\n", "535 5.7.8 Authentication credentials are not valid\r\n250");
	assert_true(ga_mono_us() - before >= 250000);
	before = ga_mono_us();
	expect(w, PLAIN("\0ann\0pencil"), "235");
	assert_true(ga_mono_us() - before < 250000);
	world_free(w);
}

static void
test_an_authenticated_client_is_counted_for_its_address_no_more(void **state)
{
	struct world *w = with(OPEN);
	struct smtpd_client *client[20];
	struct ga_sockaddr peer;

	assert_true(ga_sockaddr_parse(&peer, GA_STR("192.0.2.1:4711"), 0));
	for (int i = 0; i < 19; i++)
		assert_int_equal(smtpd_limits_take(&w->service.limits, &peer, 1000, 20, &client[i]), SMTPD_SLOT_OK);
	assert_int_equal(smtpd_limits_take(&w->service.limits, &peer, 1000, 20, &client[19]), SMTPD_SLOT_CLIENT);
	expect(w, PLAIN("\0ann\0pencil"), "235");
	assert_int_equal(smtpd_limits_take(&w->service.limits, &peer, 1000, 20, &client[19]), SMTPD_SLOT_OK);
	for (int i = 0; i < 20; i++)
		smtpd_limits_give(&w->service.limits, client[i]);
	world_free(w);
}

static void
test_a_client_that_goes_while_its_password_is_checked(void **state)
{
	struct world *w = with(OPEN);

	w->closes = true;
	world_say(w, PLAIN("\0ann\0pencil"));
	w->closes = false;
	assert_int_equal(w->worker->nsessions, 0);
	world_heard(w);
	world_connect(w);
	expect(w, HELLO, "220");
	w->stays = true;		/* nothing happens behind what is sent */
	world_say(w, PLAIN("\0ann\0pencil"));
	assert_int_equal(w->worker->sessions->state, S_VERIFY);
	smtpd_enter(w->worker->sessions);
	smtpd_abort(w->worker->sessions);
	smtpd_leave(w->worker->sessions);
	assert_false(w->connected);
	assert_int_equal(w->worker->nsessions, 1);	/* the helper has it */
	w->stays = false;
	world_say(w, "");
	assert_int_equal(w->worker->nsessions, 0);
	world_free(w);
}

/* --- what a service asks for --- */

static void
test_required_means_mail_after_auth_alone_whatever_the_address(void **state)
{
	static const char *const both[] = { "smtp_auth required\n", "require_auth yes\n",
		"smtp_auth optional\nrequire_auth yes\n" };

	for (size_t i = 0; i < 3; i++) {
		char text[256];
		struct world *w;

		snprintf(text, sizeof text, "%ssmtp_auth_without_tls yes\n", both[i]);
		w = with(text);
		w->worker->sessions->relays = true;
		expect(w, "MAIL FROM:<a@example.org>\r\n", "530 5.7.0");
		expect(w, "VRFY a\r\n", "252");
		expect(w, PLAIN("\0ann\0pencil"), "235");
		expect_relaying(w);
		world_free(w);
	}
}

static void
test_required_tls_comes_before_everything(void **state)
{
	struct world *w = with("smtp_auth optional\n");

	w->conf.require_tls = true;
	w->gen->tls = (struct ga_tls_server *)(void *)w;
	expect(w, "MAIL FROM:<a@example.org>\r\n", "530 5.7.0");
	expect(w, PLAIN("\0ann\0pencil"), "530 5.7.0");
	expect(w, "VRFY a\r\n", "530 5.7.0");
	expect(w, "RCPT TO:<a@example.org>\r\n", "530 5.7.0");
	expect(w, "NOOP\r\n", "250");
	expect(w, "FOO\r\n", "500");
	expect(w, HELLO, "250");
	expect(w, "STARTTLS\r\n", "220");
	expect(w, HELLO, "250");
	expect(w, PLAIN("\0ann\0pencil"), "235");
	expect_relaying(w);
	w->gen->tls = NULL;
	world_free(w);
}

static void
test_starttls_forgets_who_the_client_was(void **state)
{
	struct world *w = with(OPEN);

	w->gen->tls = (struct ga_tls_server *)(void *)w;
	expect(w, PLAIN("\0ann\0pencil"), "235");
	expect(w, "STARTTLS\r\n", "220");
	expect(w, HELLO, "250");
	expect_anonymous(w);
	expect(w, PLAIN("\0ann\0pencil"), "235");
	w->gen->tls = NULL;
	world_free(w);
}

static void
test_mechanisms_are_offered_where_they_are_safe(void **state)
{
	struct world *w = with(OPEN);

	expect(w, HELLO, smtpd_scram_built_in ? "250-test\r\n250-AUTH PLAIN LOGIN SCRAM-SHA-256\r\n250 SIZE\r\n" :
	    "250-test\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE\r\n");
	expect(w, "HELO client.example\r\n", "250 test\r\n");
	world_free(w);
	w = with("smtp_auth optional\n");
	expect(w, HELLO, smtpd_scram_built_in ? "250-test\r\n250-AUTH SCRAM-SHA-256\r\n250 SIZE\r\n" :
	    "250-test\r\n250 SIZE\r\n");
	expect(w, "AUTH LOGIN\r\n", "538 5.7.11");
	expect(w, "AUTH PLAIN\r\n", "538 5.7.11");
	world_free(w);
	w = with("");
	expect(w, HELLO, "250-test\r\n250 SIZE\r\n");
	world_free(w);
}

static void
test_auth_parameter_of_mail(void **state)
{
	static const struct { const char *value, *reply; } rows[] = {
		{ "AUTH=<>", "250" }, { "AUTH=e+3Dmc2@example.com", "250" }, { "auth=a@example.com", "250" },
		{ "AUTH=", "501" }, { "AUTH", "501" }, { "AUTH=a", "501" }, { "AUTH=a+0Ab@example.com", "501" },
		{ "AUTH=a+00@example.com", "501" }, { "AUTH=+", "501" },
		{ "AUTH=a=b@example.com", "501" }, { "AUTH=<> AUTH=<>", "501" },
	};
	struct world *w = with(OPEN);
	char text[200];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(text, sizeof text, "MAIL FROM:<a@example.org> %s\r\n", rows[i].value);
		expect(w, text, rows[i].reply);
		expect(w, "RSET\r\n", "250");
	}
	expect(w, "HELO client.example\r\n", "250");
	expect(w, "MAIL FROM:<a@example.org> AUTH=<>\r\n", "555");
	world_free(w);
	w = with("");
	expect(w, "MAIL FROM:<a@example.org> AUTH=<>\r\n", "555");
	world_free(w);
}

/* --- what hooks see --- */

static char seen[8192];

static void
see_line(struct ga_call *c, const struct ga_ev_line *ev)
{
	size_t n = strlen(seen);

	snprintf(seen + n, sizeof seen - n, "%.*s\n", (int)ev->text.n, ev->text.p);
}

static void
test_hooks_see_no_credentials(void **state)
{
	struct world *w = with(OPEN "max_auth_failures 100\n");

	seen[0] = '\0';
	world_hook(w, GA_HOOK_line, (void (*)(void))see_line);
	expect(w, "AUTH\r\n", "501");
	expect(w, "AUTH c2VjcmV0\r\n", "504");		/* the mechanism forgotten */
	expect(w, " AUTH PLAIN c2VjcmV0\r\n", "500");
	expect(w, "auth cram-md5\r\n", "504");
	expect(w, "c2VjcmV0\r\n", "500");		/* a client that did not wait */
	expect(w, "c2VjcmV0 c2VjcmV0\r\n", "500");
	expect(w, "NOOP\r\n", "250");
	expect(w, "FOO bar\r\n", "500");
	expect(w, "AUTH  PLAIN  AGJvYgBzZWNyZXQx\r\n", "535");
	expect(w, "AUTH PLAIN\r\n", "334");
	expect(w, "c2VjcmV0!\r\n", "501");
	expect(w, "AUTH LOGIN\r\n", "334");
	expect(w, "*\r\n", "501");
	expect(w, "auth login Ym9i\r\n", "334");
	expect(w, LINE("secret"), "235");
	world_hook(w, GA_HOOK_line, NULL);
	assert_string_equal(seen,
	    "AUTH\n501 5.5.4 Syntax: AUTH mechanism [response]\n"
	    "AUTH [credentials]\n504 5.5.4 Mechanism not known\n"
	    "AUTH PLAIN [credentials]\n500 5.5.2 Command not recognized\n"
	    "AUTH [credentials]\n504 5.5.4 Mechanism not known\n"
	    "[credentials]\n500 5.5.2 Command not recognized\n"
	    "[credentials]\n500 5.5.2 Command not recognized\n"
	    "NOOP\n250 2.0.0 OK\n"
	    "FOO bar\n500 5.5.2 Command not recognized\n"
	    "AUTH PLAIN [credentials]\n535 5.7.8 Authentication credentials are not valid\n"
	    "AUTH PLAIN\n334 \n[credentials]\n501 5.5.2 Cannot decode: not base64\n"
	    "AUTH LOGIN\n334 VXNlcm5hbWU6\n*\n501 5.7.0 Authentication cancelled\n"
	    "AUTH login [credentials]\n334 UGFzc3dvcmQ6\n[credentials]\n235 2.7.0 Authentication successful\n");
	world_free(w);
}

static void
test_buffers_keep_no_credentials(void **state)
{
	static const char secret[] = "AGFubgBwZW5jaWw=";
	struct world *w = with(OPEN);

	for (size_t piece = 1; piece < 40; piece += 7) {
		w->piece = piece;
		expect(w, PLAIN("\0ann\0pencil"), "235");
		assert_null(memmem(w->worker->in, sizeof w->worker->in, secret + 8, 8));
		assert_null(memmem(w->worker->in, sizeof w->worker->in, "pencil", 6));
		world_disconnect(w);
		world_connect(w);
		w->piece = SIZE_MAX;
		expect(w, HELLO, "220");
	}
	world_free(w);
}

/* --- the hook --- */

static struct { enum ga_verdict verdict; unsigned code; char user[64], password[64], mechanism[32]; unsigned asked; } judge;

static enum ga_verdict
on_auth(struct ga_call *c, const struct ga_ev_auth *ev)
{
	judge.asked++;
	snprintf(judge.user, sizeof judge.user, "%.*s", (int)ev->user.n, ev->user.p);
	snprintf(judge.password, sizeof judge.password, "%.*s", (int)ev->password.n, ev->password.p);
	snprintf(judge.mechanism, sizeof judge.mechanism, "%.*s", (int)ev->mechanism.n, ev->mechanism.p);
	if (judge.code != 0)
		ga_reply(c, judge.code, "4.3.0", "ask me tomorrow");
	return judge.verdict;
}

static void
test_modules_are_asked_before_the_users(void **state)
{
	static const struct {
		enum ga_verdict verdict;
		unsigned code;
		const char *good, *wrong;		/* replies to ann's password, to another */
	} rows[] = {
		{ GA_PASS, 0, "235", "535 5.7.8" }, { GA_ACCEPT, 0, "235", "235" },
		{ GA_REJECT, 0, "535 5.7.8", "535 5.7.8" }, { GA_TEMPFAIL, 0, "454 4.7.0", "454 4.7.0" },
		{ GA_TEMPFAIL, 432, "432 4.3.0 ask me tomorrow", "432 4.3.0 ask me tomorrow" },
		{ GA_CLOSE, 0, "421 4.7.0", "421 4.7.0" }, { GA_HOLD, 0, "454 4.7.0", "454 4.7.0" },
	};

	for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
		struct world *w = with(OPEN);
		bool wrong = i % 2 == 1;

		memset(&judge, 0, sizeof judge);
		judge.verdict = rows[i / 2].verdict;
		judge.code = rows[i / 2].code;
		world_hook(w, GA_HOOK_auth, (void (*)(void))on_auth);
		if (wrong)
			expect(w, PLAIN("\0ann\0pen"), rows[i / 2].wrong);
		else
			expect(w, "AUTH LOGIN YW5u\r\ncGVuY2ls\r\n", "334");
		assert_int_equal(judge.asked, 1);
		assert_string_equal(judge.user, "ann");
		assert_string_equal(judge.password, wrong ? "pen" : "pencil");
		assert_string_equal(judge.mechanism, wrong ? "PLAIN" : "LOGIN");
		assert_int_equal(w->worker->sessions != NULL && w->worker->sessions->user.n > 0,
		    strncmp(wrong ? rows[i / 2].wrong : rows[i / 2].good, "235", 3) == 0);
		world_hook(w, GA_HOOK_auth, NULL);
		world_free(w);
	}
}

static void
test_a_module_may_know_users_that_the_file_does_not(void **state)
{
	struct world *w = world_new(OPEN "smtp_users_file /nonexistent/users\n");

	memset(&judge, 0, sizeof judge);
	judge.verdict = GA_ACCEPT;
	world_hook(w, GA_HOOK_auth, (void (*)(void))on_auth);
	w->relays = false;
	world_connect(w);
	expect(w, HELLO, "220 test\r\n250-test\r\n250-AUTH PLAIN LOGIN\r\n");
	expect(w, PLAIN("\0zoe\0x"), "235");
	expect_relaying(w);
	assert_true(ga_str_eq(attribute(w, GA_ATTR_AUTH_USER), GA_STR("zoe")));
	world_disconnect(w);
	world_connect(w);
	judge.verdict = GA_PASS;
	expect(w, HELLO, "220");
	expect(w, PLAIN("\0zoe\0x"), "454 4.7.0");
	judge.verdict = GA_ACCEPT;
	expect(w, PLAIN("\0\0x"), "535");		/* nobody is not somebody */
	expect(w, PLAIN("ann\0zoe\0x"), "535");	/* nobody acts for another */
	world_disconnect(w);
	world_connect(w);
	expect(w, HELLO, "220");
	/* whoever believes the module: logs and headers are not to be written by a name */
	expect(w, PLAIN("\0zoe\r\nX: y\0x"), "535");
	expect(w, PLAIN("\0zoe\xc2\x9b" "31m\0x"), "535");
	world_hook(w, GA_HOOK_auth, NULL);
	world_free(w);
}

/* --- SCRAM --- */

static void
test_scram_that_is_not_scram_is_refused(void **state)
{
	static const char *const rows[] = {
		"", "n,,", "n,,n=ann", "n,,n=ann,r=", "p=tls-unique,,n=ann,r=abc", "x", "n,,n=ann,r=abc,x=\n",
		"n,a=bob,n=ann,r=a\x01", "y,,n=,r=abc", "n,,m=x,n=ann,r=abc",
	};

	if (!smtpd_scram_built_in)
		skip();
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct world *w = with(OPEN);

		expect(w, "AUTH SCRAM-SHA-256\r\n", "334 \r\n");
		world_say(w, line_of("", rows[i], strlen(rows[i])));
		world_say(w, LINE("c=biws,r=abc,p=AAAA"));
		world_say(w, "*\r\n");
		assert_null(strstr(world_heard(w), "235"));
		expect_anonymous(w);
		world_free(w);
	}
}

static void
test_scram_looks_the_same_for_a_name_that_is_not_known(void **state)
{
	struct world *w;
	char first[400], second[400];

	if (!smtpd_scram_built_in)
		skip();
	w = with(OPEN);
	world_say(w, line_of("AUTH SCRAM-SHA-256 ", "n,,n=ann,r=rOprNGfwEbeRWgbNEkqO", 31));
	snprintf(first, sizeof first, "%s", world_heard(w));
	expect(w, LINE("c=biws,r=x,p=AAAA"), "535 5.7.8");
	/* bob has no keys, nobody is nobody */
	world_say(w, line_of("AUTH SCRAM-SHA-256 ", "n,,n=bob,r=rOprNGfwEbeRWgbNEkqO", 31));
	snprintf(second, sizeof second, "%s", world_heard(w));
	assert_int_equal(strlen(first), strlen(second));
	assert_true(strncmp(first, "334 ", 4) == 0 && strncmp(second, "334 ", 4) == 0);
	expect(w, LINE("c=biws,r=x,p=AAAA"), "535 5.7.8");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain_lets_the_client_relay),
		cmocka_unit_test(test_plain_in_two_lines_and_with_its_own_identity),
		cmocka_unit_test(test_login_asks_for_name_and_password),
		cmocka_unit_test(test_auth_over_tls_is_told_in_the_trace_field),
		cmocka_unit_test(test_an_exchange_arrives_however_its_octets_are_cut),
		cmocka_unit_test(test_who_does_not_get_in),
		cmocka_unit_test(test_auth_has_its_time),
		cmocka_unit_test(test_errors_of_the_exchange),
		cmocka_unit_test(test_a_line_of_12288_octets_is_taken_and_one_more_is_not),
		cmocka_unit_test(test_an_auth_line_without_end_is_dropped_and_ends_the_session),
		cmocka_unit_test(test_users_that_cannot_be_read_are_a_temporary_failure),
		cmocka_unit_test(test_failures_of_a_session_end_it),
		cmocka_unit_test(test_failures_of_a_client_are_counted_over_its_sessions),
		cmocka_unit_test(test_a_refusal_takes_its_time_and_others_wait_behind_it),
		cmocka_unit_test(test_an_authenticated_client_is_counted_for_its_address_no_more),
		cmocka_unit_test(test_a_client_that_goes_while_its_password_is_checked),
		cmocka_unit_test(test_required_means_mail_after_auth_alone_whatever_the_address),
		cmocka_unit_test(test_required_tls_comes_before_everything),
		cmocka_unit_test(test_starttls_forgets_who_the_client_was),
		cmocka_unit_test(test_mechanisms_are_offered_where_they_are_safe),
		cmocka_unit_test(test_auth_parameter_of_mail),
		cmocka_unit_test(test_hooks_see_no_credentials),
		cmocka_unit_test(test_buffers_keep_no_credentials),
		cmocka_unit_test(test_modules_are_asked_before_the_users),
		cmocka_unit_test(test_a_module_may_know_users_that_the_file_does_not),
		cmocka_unit_test(test_scram_that_is_not_scram_is_refused),
		cmocka_unit_test(test_scram_looks_the_same_for_a_name_that_is_not_known),
	};

	return cmocka_run_group_tests_name("auth", tests, make_users, remove_users);
}
