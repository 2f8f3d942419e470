/*
 * test_users.c - smtp_users, password hashes, base64.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../base64.h"
#include "../password.h"

/* --- base64 --- */

static bool
decodes(const char *text, const char *to, size_t n)
{
	unsigned char out[64];
	size_t got = 0;

	if (!smtpd_base64_decode(ga_str_c(text), out, &got))
		return false;
	assert_int_equal(got, n);
	assert_memory_equal(out, to, n);
	return true;
}

static void
test_base64_of_rfc_4648(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
	};
	char text[16];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t n = strlen(rows[i][0]);

		assert_true(decodes(rows[i][1], rows[i][0], n));
		assert_int_equal(smtpd_base64_encode((const unsigned char *)rows[i][0], n, text),
		    strlen(rows[i][1]));
		assert_memory_equal(text, rows[i][1], strlen(rows[i][1]));
	}
}

static void
test_base64_that_is_not_canonical_is_refused(void **state)
{
	static const char *const bad[] = {
		"Z", "Zg", "Zg=", "Zm9", "Zm9vY", "=", "==", "===", "====", "Z===", "Zg==Zg==", "Zg=a",
		"Zh==", "Zm9=", " Zg==", "Zg== ", "Zm 9v", "Zm9v\n", "Zm9v\r\n", "Zm-v", "Zm_v", "Zm9v\x80mFy",
		"Zm\0v",
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		unsigned char out[64];
		size_t n;

		if (smtpd_base64_decode(ga_str_c(bad[i]), out, &n))
			fail_msg("\"%s\" was taken", bad[i]);
	}
	unsigned char out[4];
	size_t n;

	assert_false(smtpd_base64_decode(GA_STR("Zm\0v"), out, &n));
}

static void
test_base64_of_every_octet_comes_back(void **state)
{
	unsigned char octets[256], back[258];
	char text[SMTPD_BASE64_CHARS(256)];
	size_t n, got;

	for (unsigned i = 0; i < 256; i++)
		octets[i] = (unsigned char)(i * 7);
	for (size_t from = 0; from < 4; from++) {
		n = smtpd_base64_encode(octets + from, 256 - from, text);
		assert_true(smtpd_base64_decode((struct ga_str){ text, n }, back, &got));
		assert_int_equal(got, 256 - from);
		assert_memory_equal(back, octets + from, got);
	}
}

/* --- the file --- */

static char faults[4096];

static void
note_fault(void *arg, unsigned line, unsigned column, bool error, const char *message)
{
	size_t n = strlen(faults);

	snprintf(faults + n, sizeof faults - n, "%u:%u:%s %s\n", line, column, error ? "" : " warning:",
	    message);
}

static struct smtpd_users *
read_n(const char *text, size_t n)
{
	char path[] = "/tmp/ga-users-XXXXXX";
	int fd = mkstemp(path), error = 0;
	struct smtpd_users *u;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, n), n);
	close(fd);
	faults[0] = '\0';
	u = smtpd_users_read(path, note_fault, NULL, &error);
	unlink(path);
	assert_non_null(u);
	return u;
}

static struct smtpd_users *
read_text(const char *text)
{
	return read_n(text, strlen(text));
}

/* "pencil", by the SHA-256 example of RFC 7677. */
#define PENCIL "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==," \
	"WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
/* "secret" */
#define SECRET "$6$rounds=5000$usesomesillystri$TlTQnEbjsMwTVvhjjUdxkyNN7fwT77l4qSCIjUbLtSbLuXZXjZyIcpPIYdbSbewOeU5OCbhxvK8tK3BOQBBAb."

static void
test_users_comments_and_blank_lines(void **state)
{
	struct smtpd_users *u = read_text("# who may\n\nann:" PENCIL "\n  \t\r\n#bob:x\n"
	    "carl@example.com:" SECRET ":news_letter\r\ndora:!" SECRET "\nemil:*");
	const struct smtpd_user *carl = smtpd_users_find(u, GA_STR("carl@example.com"));

	assert_string_equal(faults, "");
	assert_non_null(carl);
	assert_true(ga_str_eq(carl->mail_class, GA_STR("news_letter")));
	assert_non_null(carl->crypted);
	assert_non_null(smtpd_users_find(u, GA_STR("ann"))->scram);
	assert_int_equal(smtpd_users_find(u, GA_STR("ann"))->mail_class.n, 0);
	assert_null(smtpd_users_find(u, GA_STR("Ann")));
	assert_null(smtpd_users_find(u, GA_STR("bob")));
	assert_null(smtpd_users_find(u, GA_STR("#bob")));
	assert_null(smtpd_users_find(u, GA_STR("dora")));	/* locked out */
	assert_null(smtpd_users_find(u, GA_STR("emil")));
	assert_null(smtpd_users_find(u, GA_STR("")));
	assert_null(smtpd_users_find(u, GA_STR("ann\0")));
	assert_true(smtpd_users_have_scram(u));
	smtpd_users_unref(u);
}

static void
test_bad_lines_are_all_told_with_their_places(void **state)
{
	static const char text[] = "nohash\n:" SECRET "\nann:" SECRET "\nann:" PENCIL "\n"
	    "bob:secret\nc\x01:" SECRET "\nd:" SECRET ":x\ne:" SECRET ":a__b\nf:" SECRET ":\n"
	    "g:{SCRAM-SHA-256}4096,x\nh:{SCRAM-SHA-256}4095" "\ni:" SECRET ":ok:more\nj:\nk\0l:" SECRET "\n"
	    "last:$1$salt$9GHNWvCB1UrDZjPi7uags0\n";
	struct smtpd_users *u = read_n(text, sizeof text - 1);

	assert_string_equal(faults,
	    "1:7: `:` and a password hash are missing\n"
	    "2:1: a name has 1 to 255 octets, no colon, no control character\n"
	    "4:1: this user is in the file already\n"
	    "5:5: not a password hash of crypt(5) that begins with $\n"
	    "6:1: a name has 1 to 255 octets, no colon, no control character\n"
	    "7:122: a mail class is 2 to 64 letters and _, without __\n"
	    "8:122: a mail class is 2 to 64 letters and _, without __\n"
	    "9:122: a mail class is 2 to 64 letters and _, without __\n"
	    "10:3: not {SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey in base64\n"
	    "11:3: not {SCRAM-SHA-256}iterations,salt,StoredKey,ServerKey in base64\n"
	    "12:122: a mail class is 2 to 64 letters and _, without __\n"
	    "13:3: warning: no password hash: this user cannot log in\n"
	    "14:2: a NUL octet\n"
	    "15:6: warning: an old or cheap password hash; yescrypt or SCRAM is better\n");
	/* the first of two stays, and so do all good lines */
	assert_non_null(smtpd_users_find(u, GA_STR("ann"))->crypted);
	assert_non_null(smtpd_users_find(u, GA_STR("last")));
	assert_null(smtpd_users_find(u, GA_STR("bob")));
	assert_null(smtpd_users_find(u, GA_STR("d")));
	smtpd_users_unref(u);
}

static void
test_a_file_that_cannot_be_read(void **state)
{
	int error = 0;

	assert_null(smtpd_users_read("/nonexistent/users", note_fault, NULL, &error));
	assert_int_equal(error, 2 /* ENOENT */);
	assert_null(smtpd_users_read("/", note_fault, NULL, &error));
	assert_null(smtpd_users_read("/dev/zero", note_fault, NULL, &error));
}

/* --- passwords --- */

static void
test_passwords_are_checked_by_either_kind_of_hash(void **state)
{
	struct smtpd_users *u = read_text("ann:" PENCIL "\nbob:" SECRET "\n");
	const struct smtpd_user *ann = smtpd_users_find(u, GA_STR("ann"));
	const struct smtpd_user *bob = smtpd_users_find(u, GA_STR("bob"));

	assert_true(smtpd_password_matches(ann, GA_STR("pencil")));
	assert_false(smtpd_password_matches(ann, GA_STR("pencil ")));
	assert_false(smtpd_password_matches(ann, GA_STR("")));
	assert_false(smtpd_password_matches(ann, GA_STR("pencil\0")));
	assert_true(smtpd_password_matches(bob, GA_STR("secret")));
	assert_false(smtpd_password_matches(bob, GA_STR("Secret")));
	assert_false(smtpd_password_matches(bob, GA_STR("secret\0x")));
	assert_false(smtpd_password_matches(bob, GA_STR("")));
	smtpd_users_unref(u);
}

static void
test_keys_are_made_and_printed_as_they_are_read(void **state)
{
	struct smtpd_scram_keys k, again;
	char text[SMTPD_SCRAM_TEXT];

	memset(&again, 0, sizeof again);
	assert_true(smtpd_scram_parse(GA_STR(PENCIL), &k));
	memcpy(again.salt, k.salt, k.nsalt);
	again.nsalt = k.nsalt;
	again.iterations = k.iterations;
	assert_true(smtpd_scram_derive(&again, GA_STR("pencil")));
	smtpd_scram_print(&again, text);
	assert_string_equal(text, PENCIL);
	k.nsalt = SMTPD_SCRAM_SALT_MAX;
	k.iterations = SMTPD_SCRAM_ITERATIONS_MAX;
	smtpd_scram_print(&k, text);		/* the longest there is fits */
	assert_true(smtpd_scram_parse(ga_str_c(text), &again));
	assert_int_equal(again.nsalt, SMTPD_SCRAM_SALT_MAX);
}

static void
test_keys_with_anything_wrong_are_refused(void **state)
{
	static const char *const bad[] = {
		"{SCRAM-SHA-256}", "{SCRAM-SHA-256}4096", "{SCRAM-SHA-1}" "4096,a,b,c", PENCIL ",", PENCIL "A",
		"{SCRAM-SHA-256}04096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"{SCRAM-SHA-256}99999999,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"{SCRAM-SHA-256}4096,,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
		"{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT,"
		"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
	};
	struct smtpd_scram_keys k;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (smtpd_scram_parse(ga_str_c(bad[i]), &k))
			fail_msg("%s was taken", bad[i]);
}

/* --- names that are not known --- */

static void
test_a_name_not_known_has_a_decoy_and_keys_that_stay_the_same(void **state)
{
	struct smtpd_users *u = read_text("ann:" PENCIL "\nbob:" SECRET "\n");
	struct smtpd_users *again = read_text("ann:" PENCIL "\nbob:" SECRET "\n");
	struct smtpd_scram_keys k, l, m;

	assert_non_null(smtpd_users_decoy(u, GA_STR("nobody")));
	assert_ptr_equal(smtpd_users_decoy(u, GA_STR("nobody")), smtpd_users_decoy(u, GA_STR("nobody")));
	assert_true(smtpd_users_fake_keys(u, GA_STR("nobody"), &k));
	assert_true(smtpd_users_fake_keys(again, GA_STR("nobody"), &l));	/* after a restart */
	assert_true(smtpd_users_fake_keys(u, GA_STR("nemo"), &m));
	assert_int_equal(k.iterations, 4096);
	assert_int_equal(k.nsalt, 16);
	assert_memory_equal(k.salt, l.salt, 16);
	assert_memory_not_equal(k.salt, m.salt, 16);
	assert_memory_not_equal(k.stored_key, l.stored_key, 32);
	smtpd_users_unref(u);
	smtpd_users_unref(again);
	u = read_text("# nobody\n");
	assert_null(smtpd_users_decoy(u, GA_STR("nobody")));
	assert_false(smtpd_users_have_scram(u));
	smtpd_users_unref(u);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64_of_rfc_4648),
		cmocka_unit_test(test_base64_that_is_not_canonical_is_refused),
		cmocka_unit_test(test_base64_of_every_octet_comes_back),
		cmocka_unit_test(test_users_comments_and_blank_lines),
		cmocka_unit_test(test_bad_lines_are_all_told_with_their_places),
		cmocka_unit_test(test_a_file_that_cannot_be_read),
		cmocka_unit_test(test_passwords_are_checked_by_either_kind_of_hash),
		cmocka_unit_test(test_keys_are_made_and_printed_as_they_are_read),
		cmocka_unit_test(test_keys_with_anything_wrong_are_refused),
		cmocka_unit_test(test_a_name_not_known_has_a_decoy_and_keys_that_stay_the_same),
	};

	return cmocka_run_group_tests_name("users", tests, NULL, NULL);
}
