/*
 * test_injection.c - header fields that steer mail: taken out, obeyed, refused; and
 * nothing else changed, in whatever chunks a body lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GA_LEVEL GA_ABI_STRICT
#include <greenarrow/injection.h>

#include "bed.h"

static const struct ga_module *const no_modules[] = { NULL };
static struct ga_snapshot *snapshot;
static struct ga_txn *txn;
static struct ga_str field;

static int
up(void **state)
{
	(void)state;
	bed_up(&(struct bed){ .conf = "smtp_service pmta {\nprocess_x_virtual_mta_header yes\n}\n",
	    .modules = no_modules });
	snapshot = ga_snapshot_current();
	return 0;
}

static int
down(void **state)
{
	(void)state;
	ga_txn_free(txn, GA_END_DONE);
	txn = NULL;
	ga_snapshot_unref(snapshot);
	bed_down();
	return 0;
}

/* Octets that lie in a chunk of their own each time this is called. */
static void
add_chunk(struct ga_body *body, const char *p, size_t n)
{
	size_t left = body->last->room - body->last->n, room;

	if (n == 0)
		return;
	/* more than is left: a chunk is begun */
	ga_body_room(body, left < n ? n : left + 1, &room);
	memcpy(body->last->data + body->last->n, p, n);
	ga_body_used(body, n);
}

static uint32_t
header_size_of(struct ga_str wire)
{
	const char *end = memmem(wire.p, wire.n, "\r\n\r\n", 4);

	if (wire.n >= 2 && memcmp(wire.p, "\r\n", 2) == 0)
		return 2;
	return (uint32_t)(end != NULL ? end + 4 - wire.p : (ptrdiff_t)wire.n);
}

/* A new transaction whose message is wire, cut at the two places. */
static void
bring(struct ga_str wire, size_t a, size_t b, bool pmta)
{
	ga_txn_free(txn, GA_END_DONE);
	txn = ga_txn_new(ga_worker_get(0), NULL, pmta ? ga_snapshot_object(snapshot,
	    ga_object_find(snapshot, "smtp_service", GA_STR("pmta"))) : ga_snapshot_general(snapshot));
	txn->body = ga_body_new();
	add_chunk(txn->body, wire.p, a);
	add_chunk(txn->body, wire.p + a, b - a);
	add_chunk(txn->body, wire.p + b, wire.n - b);
	txn->header_size = header_size_of(wire);
	assert_int_equal(txn->body->size, wire.n);
	field = (struct ga_str){ NULL, 0 };
}

static bool
take(const char *wire)
{
	bring(ga_str_c(wire), 0, 0, false);
	return ga_injection_take(txn, true, &field);
}

static void
assert_wire(const char *wanted)
{
	struct ga_pool *pool = ga_pool_new(0);
	struct ga_str now = ga_body_flat(txn->body, pool);

	assert_int_equal(now.n, strlen(wanted));
	assert_memory_equal(now.p, wanted, now.n);
	assert_int_equal(txn->body->size, now.n);
	assert_int_equal(txn->header_size, header_size_of(ga_str_c(wanted)));
	ga_pool_free(pool);
}

static void
assert_attr(unsigned key, const char *wanted)
{
	struct ga_str v;
	bool there = ga_attr_get((struct ga_str){ txn->attrs.p, txn->attrs.n }, key, &v);

	assert_int_equal(there, wanted != NULL);
	if (there) {
		assert_int_equal(v.n, strlen(wanted));
		assert_memory_equal(v.p, wanted, v.n);
	}
}

static const char all[] = "Received: by x\r\nX-GreenArrow-MtaID: ip-2\r\nx-greenarrow-mailclass:news_letter\r\n"
    "Subject: s\r\nX-GREENARROW-SENDID:  s.7 of\r\n\t May \r\nX-GreenArrow-ListID : l_1+\r\n"
    "X-GreenArrow-InstanceID: 24may\r\nX-GreenArrow-Click-Tracking-ID: c-1\r\nX-GreenArrow-Other: stays\r\n"
    "x-virtual-mta: p\r\nTo: a@receiver.example\r\n\r\nX-GreenArrow-MtaID: body\r\n";
static const char all_without[] = "Received: by x\r\nSubject: s\r\nX-GreenArrow-Other: stays\r\n"
    "x-virtual-mta: p\r\nTo: a@receiver.example\r\n\r\nX-GreenArrow-MtaID: body\r\n";

static void
assert_all_taken(void)
{
	assert_wire(all_without);
	assert_attr(GA_ATTR_VIRTUAL_MTA, "ip-2");
	assert_attr(GA_ATTR_MAIL_CLASS, "news_letter");
	assert_attr(GA_ATTR_SEND_ID, "s.7 of  May");
	assert_attr(GA_ATTR_LIST_ID, "l_1+");
	assert_attr(GA_ATTR_INSTANCE_ID, "24may");
	assert_attr(GA_ATTR_CLICK_TRACKING_ID, "c-1");
}

static void
test_fields_become_attributes_and_go_in_whatever_chunks_they_lie(void **state)
{
	struct ga_str wire = { all, sizeof all - 1 };

	(void)state;
	for (size_t a = 0; a <= wire.n; a++)
		for (size_t b = a; b <= wire.n; b += b % 7 + 1) {
			bring(wire, a, b, false);
			assert_true(ga_injection_take(txn, true, &field));
			assert_all_taken();
		}
}

static void
test_what_comes_later_is_appended_behind_what_was_cut(void **state)
{
	(void)state;
	bring(GA_STR("X-GreenArrow-SendID: s\r\n"), 3, 9, false);
	assert_true(ga_injection_take(txn, true, &field));
	assert_wire("");
	ga_body_append(txn->body, "\r\nbody\r\n", 8);
	txn->header_size = 2;
	assert_wire("\r\nbody\r\n");
	ga_body_prepend(txn->body, "A: b\r\n", 6);
	txn->header_size += 6;
	assert_wire("A: b\r\n\r\nbody\r\n");
}

static void
test_strangers_lose_the_fields_and_choose_nothing(void **state)
{
	(void)state;
	bring((struct ga_str){ all, sizeof all - 1 }, 10, 20, false);
	assert_true(ga_injection_take(txn, false, &field));
	assert_wire(all_without);
	assert_int_equal(txn->attrs.n, 0);
	bring(GA_STR("X-GreenArrow-ListID: not a list\r\n\r\n"), 0, 0, false);
	assert_true(ga_injection_take(txn, false, &field));
	assert_wire("\r\n");
}

static void
test_a_message_without_such_fields_is_not_touched(void **state)
{
	static const char *const same[] = { "", "\r\n", "a", "X-\r\n", "x", "X-G", "Subject: x\r\n", "no field\r\n",
		"Subject: x\r\n\r\nX-GreenArrow-SendID: body\r\n", "Subject: a\r\n X-GreenArrow-SendID: fold\r\n\r\n",
		"X-GreenArrow: x\r\nX-Greenarrow-SendIDs: x\r\nX-GreenArrow-Send: x\r\n\r\n",
		" X-GreenArrow-SendID: x\r\n\r\n", "XX-GreenArrow-SendID: x\r\n\r\n", "x-virtual-mta: x\r\n\r\n",
		"\r\nX-GreenArrow-SendID: body\r\n" };

	(void)state;
	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		assert_true(take(same[i]));
		assert_wire(same[i]);
		assert_int_equal(txn->attrs.n, 0);
	}
}

/* Random headers of pieces that are near misses: nothing changes, in no cut. */
static void
test_random_messages_pass_octet_for_octet(void **state)
{
	static const char *const pieces[] = { "X-", "GreenArrow", "-", "x-virtual", "\r\n", " ", "\t", ": ", "a",
		"\xc3\xa4", "Subject: ", "greenarrow-Send", "\r\nTo: b", ";", "x", "\r\n ", "." };

	(void)state;
	srand(7);
	for (int round = 0; round < 3000; round++) {
		char wire[2000];
		size_t n = 0, a, b;

		for (int i = rand() % 60; i > 0; i--) {
			const char *piece = pieces[(size_t)rand() % (sizeof pieces / sizeof pieces[0])];

			n += (size_t)snprintf(wire + n, sizeof wire - n, "%s", piece);
		}
		wire[n] = '\0';
		a = n > 0 ? (size_t)rand() % n : 0;
		b = a + (n > a ? (size_t)rand() % (n - a) : 0);
		bring((struct ga_str){ wire, n }, a, b, false);
		assert_true(ga_injection_take(txn, true, &field));
		assert_wire(wire);
		assert_int_equal(txn->attrs.n, 0);
	}
}

static void
test_the_domain_of_the_from_field_is_an_attribute_in_whatever_chunks_it_lies(void **state)
{
	struct ga_str wire = GA_STR("Froma: x@no.example\r\nSubject: From: y@no.example\r\n from: z@no.example\r\n"
	    "X-GreenArrow-SendID: s\r\nfrom : \"a, b@no.example\"\r\n\t(c) <a@B.Example>\r\n , d@no.example\r\n"
	    "From: second@no.example\r\n\r\nFrom: body@no.example\r\n");

	(void)state;
	for (size_t a = 0; a <= wire.n; a++)
		for (size_t b = a; b <= wire.n; b += b % 7 + 1)
			for (int obey = 0; obey < 2; obey++) {
				bring(wire, a, b, false);
				assert_true(ga_injection_take(txn, obey == 1, &field));
				assert_attr(GA_ATTR_FROM_DOMAIN, "b.example");
				assert_attr(GA_ATTR_FROM_ADDRESS, "a@B.Example");
				assert_attr(GA_ATTR_SEND_ID, obey == 1 ? "s" : NULL);
			}
}

static void
test_a_from_field_without_a_domain_says_nothing(void **state)
{
	static const char *const none[] = { "From: nobody\r\n\r\n", "From:\r\n\r\n", "From: a@\r\n\r\n", "From: a@b.example",
		"Subject: x\r\n\r\nFrom: a@b.example\r\n", "From a@b.example\r\n\r\n", " From: a@b.example\r\n\r\n" };
	char wire[6000];
	size_t n;

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		assert_true(take(none[i]));
		assert_attr(GA_ATTR_FROM_DOMAIN, NULL);
		assert_attr(GA_ATTR_FROM_ADDRESS, NULL);
	}
	/* an address that is cut off may be another one */
	n = (size_t)snprintf(wire, sizeof wire, "From: %*s@b.example\r\n\r\n", 2040 - 8, "a");
	assert_true(n > 2048);
	assert_true(take(wire));
	assert_attr(GA_ATTR_FROM_DOMAIN, NULL);
	snprintf(wire, sizeof wire, "From: a@b.example,\r\n %*s@c.example\r\n\r\n", 4000, "a");
	assert_true(take(wire));
	assert_attr(GA_ATTR_FROM_DOMAIN, "b.example");
}

static void
test_the_first_field_counts_and_all_go(void **state)
{
	(void)state;
	assert_true(take("X-GreenArrow-SendID: a\r\nX-GreenArrow-SendID: b b\r\nTo: x\r\nx-greenarrow-sendid: c\r\n\r\n"));
	assert_wire("To: x\r\n\r\n");
	assert_attr(GA_ATTR_SEND_ID, "a");
	assert_true(take("X-GreenArrow-ListID: a\r\nX-GreenArrow-ListID: not a list\r\n\r\n"));
	assert_attr(GA_ATTR_LIST_ID, "a");
	assert_true(take("X-GreenArrow-SendID:\r\nX-GreenArrow-SendID: b\r\n\r\n"));
	assert_wire("\r\n");
	assert_attr(GA_ATTR_SEND_ID, NULL);
	assert_true(take("X-GreenArrow-InstanceID:  \r\n \r\n\r\n"));
	assert_wire("\r\n");
	assert_attr(GA_ATTR_INSTANCE_ID, NULL);
}

static void
test_an_attribute_that_is_there_already_stays(void **state)
{
	(void)state;
	bring(GA_STR("X-GreenArrow-MailClass: mine\r\n\r\n"), 0, 0, false);
	ga_attrs_put(&txn->attrs, GA_ATTR_MAIL_CLASS, GA_STR("forced"));
	assert_true(ga_injection_take(txn, true, &field));
	assert_attr(GA_ATTR_MAIL_CLASS, "forced");
	assert_wire("\r\n");
}

static void
test_x_virtual_mta_counts_where_it_is_on_and_behind_our_own(void **state)
{
	(void)state;
	bring(GA_STR("X-Virtual-MTA: p\r\nTo: x\r\n\r\n"), 1, 2, true);
	assert_true(ga_injection_take(txn, true, &field));
	assert_wire("To: x\r\n\r\n");
	assert_attr(GA_ATTR_VIRTUAL_MTA, "p");
	bring(GA_STR("x-virtual-mta: p\r\nX-GreenArrow-MtaID: g\r\n\r\n"), 1, 2, true);
	assert_true(ga_injection_take(txn, true, &field));
	assert_wire("\r\n");
	assert_attr(GA_ATTR_VIRTUAL_MTA, "g");
	bring(GA_STR("x-virtual-mta: p\r\nX-GreenArrow-MtaID:\r\n\r\n"), 1, 2, true);
	assert_true(ga_injection_take(txn, true, &field));
	assert_attr(GA_ATTR_VIRTUAL_MTA, "p");
}

/* A value of n octets c, with something in front. */
static bool
accepts(const char *name, const char *front, size_t n, char c)
{
	char wire[600], value[400];

	memset(value, c, n);
	value[n] = '\0';
	snprintf(wire, sizeof wire, "X-GreenArrow-%s: %s%s\r\n\r\n", name, front, value);
	if (take(wire)) {
		assert_true(txn->attrs.n > 0);
		return true;
	}
	assert_int_equal(txn->attrs.n, 0);
	assert_int_equal(field.n, strlen("X-GreenArrow-") + strlen(name));
	assert_memory_equal(field.p + strlen("X-GreenArrow-"), name, strlen(name));
	return false;
}

static void
test_values_are_held_to_their_rules(void **state)
{
	static const struct { const char *name, *front; size_t n; char c; bool good; } cases[] = {
		{ "MtaID", "", 200, 'a', true }, { "MtaID", "", 201, 'a', false }, { "MtaID", "a", 1, '\x01', false },
		{ "MtaID", "2", 0, 'a', true }, { "MtaID", "ip", 1, '\xe4', false },
		{ "MailClass", "", 2, 'a', true }, { "MailClass", "", 1, 'a', false }, { "MailClass", "", 64, 'Z', true },
		{ "MailClass", "", 65, 'a', false }, { "MailClass", "a_b_", 1, 'c', true }, { "MailClass", "a_", 1, '_', false },
		{ "MailClass", "ab", 1, '1', false },
		{ "SendID", "", 300, '~', true }, { "SendID", "", 301, 'a', false }, { "SendID", "a", 1, '\xc3', false },
		{ "SendID", "a", 1, 0x7f, false },
		{ "ListID", "aZ0_+", 15, 'a', true }, { "ListID", "", 21, 'a', false }, { "ListID", "a", 1, '-', false },
		{ "InstanceID", "1", 26, 'a', true }, { "InstanceID", "1", 27, 'a', false }, { "InstanceID", "1", 1, '-', false },
		{ "InstanceID", "a", 299, '-', true }, { "InstanceID", "a", 300, '-', false },
		{ "Click-Tracking-ID", "", 300, '!', true }, { "Click-Tracking-ID", "", 301, '!', false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_int_equal(accepts(cases[i].name, cases[i].front, cases[i].n, cases[i].c), cases[i].good);
}

static void
flags(const char *wire, bool obey, uint32_t before, uint32_t after)
{
	bring(ga_str_c(wire), 5, 9, false);
	txn->flags = before | GA_MSG_SMTPUTF8;
	ga_injection_take(txn, obey, &field);
	assert_int_equal(txn->flags, after | GA_MSG_SMTPUTF8);
}

static void
test_flags_tell_of_what_is_left(void **state)
{
	char wire[3000], x[1001];
	const uint32_t both = GA_MSG_8BIT | GA_MSG_8BIT_HEADER;

	(void)state;
	flags("X-GreenArrow-SendID: \xe4\r\nTo: x\r\n\r\n", false, both, 0);
	flags("X-GreenArrow-SendID: \xe4\r\nTo: x\r\n\r\n\xe4", false, both, GA_MSG_8BIT);
	flags("X-GreenArrow-SendID: \xe4\r\nTo: \xe4\r\n\r\n", false, both, both);
	flags("X-GreenArrow-SendID: a\r\nTo: \xe4\r\n\r\n", false, both, both);
	memset(x, 'x', 1000);
	x[1000] = '\0';
	snprintf(wire, sizeof wire, "X-GreenArrow-SendID: %s\r\n\r\nbody\r\n", x);
	flags(wire, false, GA_MSG_LONG_LINES, 0);
	snprintf(wire, sizeof wire, "X-GreenArrow-SendID: %s\r\n\r\n%.999s\r\n", x, x);
	flags(wire, false, GA_MSG_LONG_LINES, GA_MSG_LONG_LINES);
	snprintf(wire, sizeof wire, "X-GreenArrow-SendID: %s\r\n\r\n%.998s\r\n", x, x);
	flags(wire, false, GA_MSG_LONG_LINES, 0);
}

static void
test_a_header_of_300_kilobytes(void **state)
{
	size_t n = 300 * 1024, at = 0;
	char *wire = ga_xmalloc(n + 200);
	struct ga_body *body;

	(void)state;
	while (at < n)
		at += (size_t)sprintf(wire + at, "X-Filler: %060zu\r\n", at);
	at += (size_t)sprintf(wire + at, "X-GreenArrow-SendID: last\r\n\r\nbody\r\n");
	bring((struct ga_str){ wire, at }, 1000, 200000, false);
	body = txn->body;
	assert_true(ga_injection_take(txn, true, &field));
	assert_attr(GA_ATTR_SEND_ID, "last");
	assert_ptr_equal(txn->body, body);
	memmove(wire + at - 8 - strlen("X-GreenArrow-SendID: last\r\n"), wire + at - 8, 9);
	assert_wire(wire);
	free(wire);
}

/* A stranger's header of max_header_size, made to keep the loop busy. */
static void
test_many_fields_take_no_more_time_than_their_octets(void **state)
{
	static const char some[] = "X-GreenArrow-ListID:\r\nX:\r\n";
	const size_t times = 150000, n = times * (sizeof some - 1);
	char *wire = ga_xmalloc(n + 20);
	struct ga_body *body;
	clock_t began;

	(void)state;
	for (size_t i = 0; i < times; i++)
		memcpy(wire + i * (sizeof some - 1), some, sizeof some - 1);
	memcpy(wire + n, "\r\nbody\r\n", 8);
	bring(GA_STR(""), 0, 0, false);
	body = txn->body;
	ga_body_append(body, wire, n + 8);
	txn->header_size = (uint32_t)n + 2;
	began = clock();
	assert_true(ga_injection_take(txn, false, &field));
	/* 4 MB: a few hundredths of a second; one cut at a time took seconds */
	assert_true(clock() - began < CLOCKS_PER_SEC / 2);
	for (size_t i = 0; i < times; i++)
		memcpy(wire + i * 4, "X:\r\n", 4);
	memcpy(wire + times * 4, "\r\nbody\r\n", 9);
	assert_wire(wire);
	free(wire);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fields_become_attributes_and_go_in_whatever_chunks_they_lie, up, down),
		cmocka_unit_test_setup_teardown(test_what_comes_later_is_appended_behind_what_was_cut, up, down),
		cmocka_unit_test_setup_teardown(test_strangers_lose_the_fields_and_choose_nothing, up, down),
		cmocka_unit_test_setup_teardown(test_a_message_without_such_fields_is_not_touched, up, down),
		cmocka_unit_test_setup_teardown(test_random_messages_pass_octet_for_octet, up, down),
		cmocka_unit_test_setup_teardown(test_the_domain_of_the_from_field_is_an_attribute_in_whatever_chunks_it_lies, up, down),
		cmocka_unit_test_setup_teardown(test_a_from_field_without_a_domain_says_nothing, up, down),
		cmocka_unit_test_setup_teardown(test_the_first_field_counts_and_all_go, up, down),
		cmocka_unit_test_setup_teardown(test_an_attribute_that_is_there_already_stays, up, down),
		cmocka_unit_test_setup_teardown(test_x_virtual_mta_counts_where_it_is_on_and_behind_our_own, up, down),
		cmocka_unit_test_setup_teardown(test_values_are_held_to_their_rules, up, down),
		cmocka_unit_test_setup_teardown(test_flags_tell_of_what_is_left, up, down),
		cmocka_unit_test_setup_teardown(test_a_header_of_300_kilobytes, up, down),
		cmocka_unit_test_setup_teardown(test_many_fields_take_no_more_time_than_their_octets, up, down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
