/*
 * test_mail_address.c - what is an address and where its domain begins.
 */
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <greenarrow/mail.h>

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10
#define NAME_253 X60 "." X60 "." X60 "." X60 ".xxxxxxxxx"

struct good_path {
	const char *in;
	bool utf8;
	const char *address, *local, *domain, *rest;
};

static const struct good_path good[] = {
	{ "<>", false, "", "", "", "" },
	{ "<> SIZE=1", false, "", "", "", " SIZE=1" },
	{ "<a@b.example>", false, "a@b.example", "a", "b.example", "" },
	{ "<a@b.example> SIZE=1 X", false, "a@b.example", "a", "b.example", " SIZE=1 X" },
	{ "<A.b+c=d@Ex-ample.COM>", false, "A.b+c=d@Ex-ample.COM", "A.b+c=d", "Ex-ample.COM", "" },
	{ "<postmaster>", false, "postmaster", "postmaster", "", "" },
	{ "<PostMaster>", false, "PostMaster", "PostMaster", "", "" },
	{ "<\"a@x\"@y.example>", false, "\"a@x\"@y.example", "\"a@x\"", "y.example", "" },
	{ "<\"a \\\" b\"@y>", false, "\"a \\\" b\"@y", "\"a \\\" b\"", "y", "" },
	{ "<\"\"@y>", false, "\"\"@y", "\"\"", "y", "" },
	{ "<\"a>b\"@y>", false, "\"a>b\"@y", "\"a>b\"", "y", "" },
	{ "<a@[192.0.2.1]>", false, "a@[192.0.2.1]", "a", "[192.0.2.1]", "" },
	{ "<a@[ipv6:2001:db8::1]>", false, "a@[ipv6:2001:db8::1]", "a", "[ipv6:2001:db8::1]", "" },
	{ "<@one.example,@two.example:a@b>", false, "a@b", "a", "b", "" },
	{ "<@[192.0.2.1]:a@b>", false, "a@b", "a", "b", "" },
	{ "<a@foo_bar.example>", false, "a@foo_bar.example", "a", "foo_bar.example", "" },
	{ "<!#$%&'*+-/=?^_`{|}~@b>", false, "!#$%&'*+-/=?^_`{|}~@b", "!#$%&'*+-/=?^_`{|}~", "b", "" },
	{ "<${run{id}}@b>", false, "${run{id}}@b", "${run{id}}", "b", "" },
	{ "<\xc3\xa9@b\xc3\xbc" "cher.example>", true, "\xc3\xa9@b\xc3\xbc" "cher.example", "\xc3\xa9",
		"b\xc3\xbc" "cher.example", "" },
	{ "<\"\xc3\xa9 x\"@b>", true, "\"\xc3\xa9 x\"@b", "\"\xc3\xa9 x\"", "b", "" },
};

static const char *const syntax[] = {
	"", "a@b", " <a@b>", "<", "<a", "<a>", "<a@", "<a@>", "<a@b", "<@b>", "<a@b>c@d", "<a@b>SIZE=1", "<<a@b>>",
	"<a@b@c>", "<a b@c>", "<a@b c>", "<a@b >", "< a@b>", "<.a@b>", "<a.@b>", "<a..b@c>", "<\"a\"b@c>", "<\"a@c>",
	"<\"a\\", "<a@.b>", "<a@b.>", "<a@b..c>", "<a@-b>", "<a@b->", "<a@b-.c>", "<a@b!c>", "<a@b%0d%0a>",
	"<a@[192.0.2.1>", "<a@[192.0.2]>", "<a@[192.0.2.256]>", "<a@[2001:db8::1]>", "<a@[IPv6:192.0.2.1]>", "<a@[]>",
	"<a@[X-y:z]>", "<a@[192.0.2.1]b>", "<@one,two:a@b>", "<@one,:a@b>", "<@one:>", "<a@" X60 "xxxx>",
};

struct bad_path {
	const char *in;
	enum ga_mail_error e;
	bool utf8;
};

static const struct bad_path bad[] = {
	{ "<a\r@b>", GA_MAIL_CTL, false },
	{ "<a\t@b>", GA_MAIL_CTL, false },
	{ "<\"a\tb\"@b>", GA_MAIL_CTL, false },
	{ "<\"a\r\nRCPT TO:<x@y>\"@b>", GA_MAIL_CTL, false },
	{ "<\"a\\\nb\"@b>", GA_MAIL_CTL, false },
	{ "<a\x7f@b>", GA_MAIL_CTL, false },
	{ "<a@b\n>", GA_MAIL_CTL, false },
	{ "<a@b>\r", GA_MAIL_CTL, false },
	{ "<a\xc2\x85@b>", GA_MAIL_CTL, true },
	{ "<\xc3\xa9@b>", GA_MAIL_UTF8, false },
	{ "<a@b\xc3\xbc>", GA_MAIL_UTF8, false },
	{ "<\xc3@b>", GA_MAIL_UTF8, true },
	{ "<\xc0\xae@b>", GA_MAIL_UTF8, true },
	{ "<\xe0\x80\xae@b>", GA_MAIL_UTF8, true },
	{ "<\xed\xa0\x80@b>", GA_MAIL_UTF8, true },
	{ "<\xf4\x90\x80\x80@b>", GA_MAIL_UTF8, true },
	{ "<\xff@b>", GA_MAIL_UTF8, true },
	{ "<a@b\xc3", GA_MAIL_UTF8, true },
	{ "<" X60 "xxxxx@b>", GA_MAIL_TOO_LONG, false },
	{ "<a@" NAME_253 "x>", GA_MAIL_TOO_LONG, false },
	{ "<aa@" NAME_253 ">", GA_MAIL_TOO_LONG, false },
};

static void assert_str(struct ga_str s, const char *want)
{
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static enum ga_mail_error result(struct ga_str s, bool utf8)
{
	struct ga_str address, local, domain, rest;

	return ga_mail_path(s, utf8, &address, &local, &domain, &rest);
}

static void test_path_is_taken_apart(void **state)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct ga_str address, local, domain, rest;

		if (ga_mail_path(ga_str_c(good[i].in), good[i].utf8, &address, &local, &domain, &rest) != GA_MAIL_OK)
			fail_msg("refused: %s", good[i].in);
		assert_str(address, good[i].address);
		assert_str(local, good[i].local);
		assert_str(domain, good[i].domain);
		assert_str(rest, good[i].rest);
	}
}

static void test_bad_path_is_refused_for_its_reason(void **state)
{
	for (size_t i = 0; i < sizeof(syntax) / sizeof(syntax[0]); i++)
		if (result(ga_str_c(syntax[i]), false) != GA_MAIL_SYNTAX)
			fail_msg("%s: not a syntax error", syntax[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (result(ga_str_c(bad[i].in), bad[i].utf8) != bad[i].e)
			fail_msg("%s: not %d", bad[i].in, (int)bad[i].e);
}

static void test_nul_is_a_control_character_anywhere(void **state)
{
	static const char text[] = "<\"ab\"@example.net>";
	char copy[sizeof(text)];

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		memcpy(copy, text, sizeof(text));
		copy[i] = 0;
		assert_int_equal(result((struct ga_str){ copy, sizeof(text) - 1 }, true), GA_MAIL_CTL);
	}
}

static void test_longest_address_is_taken(void **state)
{
	assert_int_equal(result(ga_str_c("<" X60 "xxxx@" X60 "." X60 "." X60 ".xxxxxx>"), false), GA_MAIL_OK);
	assert_int_equal(result(ga_str_c("<" X60 "xxxx@" X60 "." X60 "." X60 ".xxxxxxx>"), false), GA_MAIL_TOO_LONG);
}

static void test_address_without_brackets(void **state)
{
	struct ga_str local, domain;

	assert_int_equal(ga_mail_address(GA_STR("a@b.example"), false, &local, &domain), GA_MAIL_OK);
	assert_str(local, "a");
	assert_str(domain, "b.example");
	assert_int_equal(ga_mail_address(GA_STR("postmaster"), false, &local, &domain), GA_MAIL_OK);
	assert_str(domain, "");
	assert_int_equal(ga_mail_address(GA_STR(""), false, &local, &domain), GA_MAIL_SYNTAX);
	assert_int_equal(ga_mail_address(GA_STR("a@b>"), false, &local, &domain), GA_MAIL_SYNTAX);
	assert_int_equal(ga_mail_address(GA_STR("a@b "), false, &local, &domain), GA_MAIL_SYNTAX);
	assert_int_equal(ga_mail_address(GA_STR("a@b\r\n"), false, &local, &domain), GA_MAIL_CTL);
	assert_int_equal(ga_mail_address(GA_STR("@r:a@b"), false, &local, &domain), GA_MAIL_SYNTAX);
}

static void test_domain_is_normalised(void **state)
{
	static const struct { const char *in, *out; } c[] = {
		{ "Example.COM", "example.com" }, { "example.com.", "example.com" },
		{ "localhost", "localhost" }, { "xn--BCHER-KVA.example", "xn--bcher-kva.example" },
		{ "b\xc3\xbc" "cher.example", "xn--bcher-kva.example" },
		{ "B\xc3\x9c" "CHER.Example", "xn--bcher-kva.example" },
		{ "[192.0.2.1]", "[192.0.2.1]" }, { "[IPv6:2001:DB8::1]", "[ipv6:2001:db8::1]" },
		{ NAME_253, NAME_253 },
		{ "", NULL }, { ".", NULL }, { "..", NULL }, { "a..b", NULL }, { ".a", NULL }, { "a b", NULL },
		{ "a\nb", NULL }, { "-a", NULL }, { "a-", NULL }, { "[1.2.3]", NULL }, { NAME_253 "x", NULL },
		{ "\xff", NULL }, { "b\xc3\xbc\r\n", NULL },
		{ "a\xef\xbc\xa0" "b", NULL },		/* full-width @ */
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		char out[253];
		struct ga_str domain;
		bool ok = ga_mail_domain(ga_str_c(c[i].in), out, sizeof(out), &domain);

		if (ok != (c[i].out != NULL))
			fail_msg("%s: %s", c[i].in, ok ? "taken" : "refused");
		assert_str(domain, ok ? c[i].out : "");
	}
}

static void test_domain_needs_room(void **state)
{
	char out[11];
	struct ga_str domain;

	assert_true(ga_mail_domain(GA_STR("example.com"), out, 11, &domain));
	assert_false(ga_mail_domain(GA_STR("example.com"), out, 10, &domain));
	assert_false(ga_mail_domain(GA_STR("b\xc3\xbc.example"), out, 11, &domain));
}

static void test_the_first_address_of_a_list_has_a_domain(void **state)
{
	static const struct { const char *list, *domain; } c[] = {
		{ "a@B.example", "b.example" }, { " <a@b.example>\r\n", "b.example" }, { "A B <a@b.example>", "b.example" },
		{ "\"x@no.example, y\" <a@b.example>, z@no.example", "b.example" }, { "a@b.example, c@no.example", "b.example" },
		{ "(x@no.example) a@b.example (c (d) \\) <z@no.example>)", "b.example" }, { "a . b @ c .\r\n example", "c.example" },
		{ "Doe, John <a@b.example>", "b.example" }, { "x@no.example <a@b.example>", "b.example" },
		{ "Friends: a@b.example, c@no.example;", "b.example" }, { "Nobody:;, a@b.example", "b.example" },
		{ "<@no.example,@not.example:a@b.example>", "b.example" }, { "\"a@no.example\"@b.example", "b.example" },
		{ "\"a\\\"@no.example\"@b.example", "b.example" }, { "a@[192.0.2.1]", "[192.0.2.1]" },
		{ "<a@[IPv6:2001:DB8::1]>", "[ipv6:2001:db8::1]" }, { "=?utf-8?q?a?= <a@b\xc3\xbc" "cher.example>", "xn--bcher-kva.example" },
		{ "<a@b.example", "b.example" },
		{ "", NULL }, { " \r\n", NULL }, { "a", NULL }, { "<a>", NULL }, { "postmaster", NULL }, { "<>, a@no.example", NULL },
		{ "a@b@c.example", NULL }, { "a@-b", NULL }, { "<a@b.example>junk", "b.example" }, { "(a@no.example", NULL },
		{ "\"a@no.example", NULL }, { "a@[no.example", NULL }, { "a@b.example\\", NULL }, { ";,:<", NULL },
	};
	char list[400], out[253], address[GA_MAIL_ADDRESS];
	struct ga_str domain;

	(void)state;
	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		bool ok = ga_mail_list_domain(ga_str_c(c[i].list), out, sizeof out, &domain);

		if (ok != (c[i].domain != NULL))
			fail_msg("%s: %s", c[i].list, ok ? "found" : "nothing found");
		assert_str(domain, ok ? c[i].domain : "");
		assert_true(ok == ga_mail_list_address(ga_str_c(c[i].list), address, &domain) || ga_str_eq(domain, GA_STR("a@-b")));
	}
	assert_true(ga_mail_list_address(GA_STR("\"B, A\" (c) <a . b @\r\n C.example>, d@no.example"), address, &domain));
	assert_str(domain, "a.b@C.example");
	memset(list, 'a', sizeof list);		/* longer than any address: not the beginning of it */
	memcpy(list + 200, "@b.example", 10);
	assert_false(ga_mail_list_domain((struct ga_str){ list, sizeof list }, out, sizeof out, &domain));
}

static void test_helo_argument(void **state)
{
	assert_true(ga_mail_helo_valid(GA_STR("mail.example.com")));
	assert_true(ga_mail_helo_valid(GA_STR("[192.0.2.1]")));
	assert_true(ga_mail_helo_valid(GA_STR("[IPv6:::1]")));
	assert_true(ga_mail_helo_valid(GA_STR("WIN_PC")));
	assert_false(ga_mail_helo_valid(GA_STR("")));
	assert_false(ga_mail_helo_valid(GA_STR("a b")));
	assert_false(ga_mail_helo_valid(GA_STR("a\nb")));
	assert_false(ga_mail_helo_valid(GA_STR("a.")));
	assert_false(ga_mail_helo_valid(GA_STR("::1")));
	assert_false(ga_mail_helo_valid(GA_STR("b\xc3\xbc")));
	assert_false(ga_mail_helo_valid((struct ga_str){ "a\0b", 3 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path_is_taken_apart),
		cmocka_unit_test(test_bad_path_is_refused_for_its_reason),
		cmocka_unit_test(test_nul_is_a_control_character_anywhere),
		cmocka_unit_test(test_longest_address_is_taken),
		cmocka_unit_test(test_address_without_brackets),
		cmocka_unit_test(test_domain_is_normalised),
		cmocka_unit_test(test_domain_needs_room),
		cmocka_unit_test(test_the_first_address_of_a_list_has_a_domain),
		cmocka_unit_test(test_helo_argument),
	};

	return cmocka_run_group_tests_name("addresses", tests, NULL, NULL);
}
