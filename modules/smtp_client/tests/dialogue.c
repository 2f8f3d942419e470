/*
 * dialogue.c - see dialogue.h.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dialogue.h"

int
dialogue_begin(void **state)
{
	fake_begin();
	return 0;
}

int
dialogue_end(void **state)
{
	fake_end();
	return 0;
}

void
open_to(unsigned hosts, unsigned recipients)
{
	struct ga_route *r = fake_route("y.example", hosts);

	fake_open(fake_batch(r, BODY, recipients, true));
	ga_route_unref(r);
}

void
more_for(const char *domain, bool offer)
{
	struct ga_route *r = fake_route(domain, 1);
	struct ga_batch b = fake_batch(r, BODY, 1, true);

	if (offer)
		assert_true(fake_offer(b));
	else
		fake.next = b;
	ga_route_unref(r);
}

void
session(const char *offer)
{
	fake.ntx = 0;
	fake_accept();
	fake_says("220 mx0 ESMTP\r\n");
	fake_expect("EHLO mail.example\r\n");
	fake_says(offer);
}

void
result_is(unsigned i, enum ga_result result, unsigned code, const char *enhanced)
{
	assert_true(i < fake.nresults);
	assert_int_equal(fake.results[i].result, result);
	assert_int_equal(fake.results[i].code, code);
	assert_string_equal(fake.results[i].enhanced, enhanced);
}

void
deliver_and_save(void)
{
	fake.settings.conf.reuse_connections = true;
	open_to(1, 1);
	session(PIPES);
	fake_says(TO_DATA);
	fake_says("250 ok\r\n");
	result_is(0, GA_RESULT_SUCCESS, 250, "");
	assert_int_equal(atomic_load(&smtpc.saved), 1);
	fake.ntx = 0;
}
