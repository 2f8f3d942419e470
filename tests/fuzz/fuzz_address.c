/*
 * fuzz_address.c - any octets as an address, a parameter list, xtext.
 *
 * What must hold whatever comes in: an address that is taken has no control
 * character, is taken again without its brackets with the same domain, and its
 * domain can be normalised; normalising twice changes nothing.
 */
#include <greenarrow/mail.h>

#include "fuzz.h"

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT("<a.b+c@example.com> SIZE=100 BODY=8BITMIME"),
	FUZZ_INPUT("<\"a\\\"@ b\"@y.example> ENVID=a+2Bb"),
	FUZZ_INPUT("<@one.example,@[192.0.2.1]:a@[IPv6:2001:db8::1]>"),
	FUZZ_INPUT("<\xc3\xa9@b\xc3\xbc" "cher.example> SMTPUTF8"),
	FUZZ_INPUT("<postmaster> NOTIFY=SUCCESS,DELAY"),
	FUZZ_INPUT("<>"),
};

static void check_domain(struct ga_str domain)
{
	char once[253], twice[253];
	struct ga_str a, b;

	FUZZ_CHECK(ga_mail_domain(domain, once, sizeof(once), &a));
	FUZZ_CHECK(ga_mail_domain(a, twice, sizeof(twice), &b));
	FUZZ_CHECK(ga_str_eq(a, b));
}

static void check_path(struct ga_str s, bool utf8)
{
	struct ga_str address, local, domain, rest, local2, domain2;
	struct ga_param param;
	bool bad;

	if (ga_mail_path(s, utf8, &address, &local, &domain, &rest) != GA_MAIL_OK)
		return;
	for (size_t i = 0; i < address.n; i++)
		FUZZ_CHECK((unsigned char)address.p[i] >= 32 && address.p[i] != 127);
	if (address.n > 0) {
		FUZZ_CHECK(ga_mail_address(address, utf8, &local2, &domain2) == GA_MAIL_OK);
		FUZZ_CHECK(ga_str_eq(local, local2) && ga_str_eq(domain, domain2));
	}
	if (domain.n > 0)
		check_domain(domain);
	while (ga_mail_param(&rest, &param, &bad))
		FUZZ_CHECK(param.key.n > 0);
}

static void check_text(struct ga_str s)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str decoded, again, escaped = ga_escape(pool, s);

	for (size_t i = 0; i < escaped.n; i++)
		FUZZ_CHECK(escaped.p[i] >= 32 && escaped.p[i] < 127);
	if (ga_xtext_decode(pool, s, &decoded)) {
		FUZZ_CHECK(ga_xtext_decode(pool, ga_xtext_encode(pool, decoded), &again));
		FUZZ_CHECK(ga_str_eq(decoded, again));
	}
	ga_pool_free(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct ga_str s = { (const char *)data, n }, normal;
	char out[253];

	check_path(s, false);
	check_path(s, true);
	check_text(s);
	ga_mail_helo_valid(s);
	if (ga_mail_domain(s, out, sizeof(out), &normal))
		check_domain(s);
	return 0;
}

FUZZ_MAIN(inputs);
