/*
 * test_spool_damage.c - torn, flipped and missing octets, and bodies that look like a spool.
 *
 * A small spool is made once.  Then, for every octet of its files: the octet
 * flipped, or the file cut there.  The start must come up, lose no message whose
 * record is whole, bring nothing back, and say what it set aside.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness.h"

#define NAMES 16

/* Six messages in five batches, results, one restart's worth of everything.
 * open: killed, no index but recovery's. */
static void
make_spool(struct rig *r, bool open)
{
	rig_init(r);
	assert_int_equal(rig_open(r), 0);
	rig_pump(r);
	rig_mail(r, 2, 300);
	rig_mail(r, 1, 100);
	rig_pump(r);
	rig_mail(r, 1, 200);
	rig_pump(r);
	rig_done(r, r->mail[1], 0);
	rig_update(r, r->mail[0], 1);
	rig_pump(r);
	rig_mail(r, 1, 50);
	rig_done(r, r->mail[0], 0);
	rig_pump(r);
	rig_mail(r, 3, 150);
	rig_pump(r);
	if (open)
		rig_drop(r);
	else
		rig_close(r);
}

static unsigned
count_found(const struct rig *r)
{
	unsigned i, n = 0;

	for (i = 0; i < r->nmail; i++)
		n += r->mail[i]->found;
	return (n);
}

/* Starts on what is in the files now.  At most one record may be lost, and not in silence. */
static void
start_and_judge(struct rig *r, unsigned alive)
{
	struct ga_spool_stats st;
	unsigned found;

	assert_int_equal(rig_open(r), 0);
	rig_recover(r);
	rig_verify(r, true);
	found = count_found(r);
	rig_verify_bodies(r, true);
	spool_get_stats(r->s, &st);
	assert_true(found + 1 >= alive);
	if (found < alive)
		assert_true(st.quarantined > 0);
	rig_drop(r);
}

/* The rig remembers that results are synced; damage may take one of them too, so a
 * message may be open again.  Forget the promises of "gone". */
static void
forget_ends(struct rig *r)
{
	for (unsigned i = 0; i < r->nmail; i++)
		for (uint32_t e = 0; e < r->mail[i]->nenv; e++) {
			r->mail[i]->env[e].done_acked = false;
			r->mail[i]->env[e].attempts_acked = 0;
		}
}

/* A segment's header is mostly zeros that nobody reads. */
static size_t
next_place(const char *name, size_t at)
{
	if (strstr(name, ".seg") == NULL)
		return (at);
	if (at >= 60 && at < 2048)
		return (2048);
	return (at >= 2108 && at < SEG_START ? SEG_START : at);
}

static void
cut_file(struct memfs *m, const char *name, size_t at)
{
	unsigned char *copy = malloc(at + 1);
	size_t size;

	memcpy(copy, memfs_data(m, MEMFS_SPOOL, name, &size), at);
	memfs_set(m, MEMFS_SPOOL, name, copy, at);
	free(copy);
}

static void
damage_everywhere(bool open, bool cut)
{
	struct memfs *whole;
	char names[NAMES][32];
	unsigned n, f;
	unsigned char *p;
	struct rig r;
	size_t size, at, last;

	make_spool(&r, open);
	forget_ends(&r);
	whole = r.disk;
	n = memfs_list(whole, MEMFS_SPOOL, open ? ".seg" : "", names, NAMES);
	for (f = 0; f < n; f++) {
		p = memfs_data(whole, MEMFS_SPOOL, names[f], &size);
		for (last = size; last > 0 && p[last - 1] == 0; last--)
			;
		for (at = 0; at < last + 8 && at < size; at++) {
			at = next_place(names[f], at);
			r.disk = memfs_clone(whole);
			memfs_ops(r.disk, &r.fs);
			if (cut)
				cut_file(r.disk, names[f], at);
			else
				memfs_data(r.disk, MEMFS_SPOOL, names[f], &size)[at] ^= 0x41;
			if (cut) {
				/* what was behind the cut cannot be there; the start must come up */
				assert_int_equal(rig_open(&r), 0);
				rig_recover(&r);
				rig_verify(&r, true);
				rig_verify_bodies(&r, true);
				rig_drop(&r);
			} else
				start_and_judge(&r, 4);
			memfs_free(r.disk);
		}
	}
	r.disk = whole;
	rig_fini(&r);
}

static void
test_a_flipped_octet_costs_one_record_at_most_and_is_told(void **state)
{
	(void)state;
	damage_everywhere(true, false);
}

static void
test_a_flipped_octet_beside_an_index(void **state)
{
	(void)state;
	damage_everywhere(false, false);
}

static void
test_a_file_that_ends_early_is_survived(void **state)
{
	(void)state;
	damage_everywhere(true, true);
	damage_everywhere(false, true);
}

/* A whole spool, segments and index, sent as mail. */
static void
test_records_in_a_body_are_octets_of_a_body(void **state)
{
	struct ga_attrs attrs = { 0 }, env = { 0 };
	struct ga_spool_commit c = { 0 };
	char names[NAMES][32];
	struct ga_str list;
	struct ga_body *body = ga_body_new();
	unsigned char *p;
	struct rig r;
	size_t n, end;
	unsigned i, files;

	(void)state;
	make_spool(&r, true);
	files = memfs_list(r.disk, MEMFS_SPOOL, ".seg", names, NAMES);
	for (i = 0; i < files; i++) {
		p = memfs_data(r.disk, MEMFS_SPOOL, names[i], &n);
		for (end = n; end > SEG_START && p[end - 1] == 0; end--)
			;
		if (end > SEG_START)
			ga_body_append(body, p + SEG_START, end - SEG_START);
	}
	assert_in_range(body->size, 1000, RIG_SEGMENT / 8);
	assert_int_equal(rig_open(&r), 0);
	rig_recover(&r);
	ga_attrs_put(&attrs, GA_ATTR_SENDER, GA_STR("x@example.com"));
	ga_attrs_put(&env, GA_ATTR_RECIPIENT, GA_STR("y@example.com"));
	list = (struct ga_str){ env.p, env.n };
	/* the same id as none of the rig's: it counts as the one stranger */
	c.message = ga_message_new(9999, 1, (struct ga_str){ attrs.p, attrs.n }, &list, NULL, 1, body);
	c.cb = NULL;
	c.message->body = body;
	{
		struct rig_mail *k = rig_mail(&r, 1, 10);

		rig_pump(&r);
		assert_int_equal(k->error, 0);
		k->commit.message = c.message;
		k->answered = false;
		spool_commit(r.s, k->commit.link.home, &k->commit);
		rig_pump(&r);
		assert_true(k->answered);
	}
	rig_drop(&r);
	assert_int_equal(rig_open(&r), 0);
	rig_recover(&r);
	assert_int_equal(r.strangers, 1);
	r.strangers = 0;
	rig_verify(&r, false);
	for (i = 0; i < r.nmail; i++)
		assert_in_range(r.mail[i]->found, 0, 1);
	rig_drop(&r);
	ga_message_unref(c.message);
	ga_attrs_free(&attrs);
	ga_attrs_free(&env);
	rig_fini(&r);
}

/* The DONE records of a segment keep it until the segments that they speak of are gone. */
static void
test_a_segment_stays_while_its_ends_matter(void **state)
{
	struct segment *g, *first, *second;
	struct rig_mail *stays, *ends[8];
	struct rig r;
	unsigned i;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	stays = rig_mail(&r, 1, 500);
	for (i = 0; i < 8; i++)
		ends[i] = rig_mail(&r, 1, 3000);
	rig_pump(&r);
	first = r.s->active;
	assert_non_null(first);
	for (i = 0; r.s->active == first; i++) {
		rig_mail(&r, 1, 2000);
		commit_step(r.s);
	}
	rig_pump(&r);
	second = r.s->active;
	for (i = 0; i < 8; i++)
		rig_done(&r, ends[i], 0);
	rig_done(&r, r.mail[r.nmail - 1], 0);
	rig_pump(&r);
	commit_seal(r.s);
	pthread_mutex_lock(&r.s->ledger.lock);
	for (i = 0; i < r.s->ledger.nsegments; i++) {
		g = r.s->ledger.segments[i];
		if (g == second) {
			assert_int_equal(g->live, 0);
			assert_int_equal(g->state, SEG_SEALED);
			assert_false(ledger_removable(&r.s->ledger, g));
		}
	}
	pthread_mutex_unlock(&r.s->ledger.lock);
	assert_int_equal(first->number == second->number, 0);
	rig_pump(&r);
	rig_drop(&r);
	assert_int_equal(rig_open(&r), 0);
	rig_recover(&r);
	rig_verify(&r, false);
	assert_int_equal(stays->found, 1);
	rig_drop(&r);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_flipped_octet_costs_one_record_at_most_and_is_told),
		cmocka_unit_test(test_a_flipped_octet_beside_an_index),
		cmocka_unit_test(test_a_file_that_ends_early_is_survived),
		cmocka_unit_test(test_records_in_a_body_are_octets_of_a_body),
		cmocka_unit_test(test_a_segment_stays_while_its_ends_matter),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
