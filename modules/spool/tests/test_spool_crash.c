/*
 * test_spool_crash.c - the power goes at every operation on the disk.
 *
 * One life of a small spool (mail, large bodies, results, bounces, pauses, sealing,
 * compaction, recycling) is run again and again; each time the power goes one
 * operation later, and what survives is only what was synced, all that was
 * written, or a chance mixture of blocks and names.  Then the spool is started,
 * and cut again while it recovers, and must hold what it promised.
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

#define ROUNDS 150

/* A chance that is the same in every run. */
static unsigned
pick(unsigned *seed, unsigned n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return ((*seed >> 8) % n);
}

static void
finish_some(struct rig *r, unsigned *seed)
{
	struct rig_mail *k;
	uint32_t e;
	unsigned i, j;

	for (i = 0; i < 6; i++) {
		k = r->mail[pick(seed, r->nmail)];
		if (!k->answered || k->error != 0)
			continue;
		e = pick(seed, k->nenv);
		j = pick(seed, 8);
		if (j == 0)
			rig_update(r, k, e);
		else if (j == 1 && !k->env[e].done_asked && !k->env[e].ended_asked)
			rig_bounce(r, k, e);
		else if (k->id % 9 != 0)	/* some stay for long */
			rig_done(r, k, e);
	}
}

static void
finish_old(struct rig *r)
{
	unsigned i, e;

	for (i = 0; i + 12 < r->nmail; i++)
		if (r->mail[i]->answered && r->mail[i]->error == 0 && r->mail[i]->id % 9 != 0)
			for (e = 0; e < r->mail[i]->nenv; e++)
				rig_done(r, r->mail[i], e);
}

/* Until it is over or the power goes. */
static void
live(struct rig *r)
{
	unsigned seed = 42, i;
	char text[16];

	for (i = 0; i < ROUNDS && !memfs_is_dead(r->disk); i++) {
		rig_mail(r, 1 + pick(&seed, RIG_RCPT), pick(&seed, 12) == 0 ? 9000 : pick(&seed, 3500));
		if (i % 10 == 0) {
			snprintf(text, sizeof text, "%u", i);
			spool_put_state(r->s, NULL, GA_STR("k"), ga_str_c(text));
		}
		if (pick(&seed, 3) != 0)
			rig_pump(r);
		finish_some(r, &seed);
		if (i % 5 == 4)
			finish_old(r);
	}
	rig_pump(r);
}

static unsigned
whole_life(struct ga_spool_stats *st)
{
	struct rig r;
	unsigned n;

	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	live(&r);
	assert_int_equal(r.errors, 0);
	spool_get_stats(r.s, st);
	rig_close(&r);
	assert_int_equal(rig_open(&r), 0);
	rig_recover(&r);
	rig_verify(&r, false);
	rig_verify_bodies(&r, false);
	n = memfs_count(r.disk);
	rig_drop(&r);
	rig_fini(&r);
	return (n);
}

static void
start_again(struct rig *r)
{
	assert_int_equal(rig_open(r), 0);
	rig_recover(r);
	rig_verify(r, false);
	rig_verify_bodies(r, false);
}

/* Cut at operation n; then, while it recovers, `again` operations later. */
static bool
cut_and_check(unsigned n, enum memfs_cut cut, unsigned again)
{
	struct rig r;
	bool died;

	rig_init(&r);
	memfs_fail_at(r.disk, n, 0);
	if (rig_open(&r) == 0)
		live(&r);
	died = memfs_is_dead(r.disk);
	rig_drop(&r);
	memfs_cut_power(r.disk, cut, n);
	if (again > 0) {
		memfs_fail_at(r.disk, again, 0);
		if (rig_open(&r) == 0)
			rig_pump(&r);
		rig_drop(&r);
		memfs_cut_power(r.disk, cut, n + 7);
	}
	start_again(&r);
	/* and it works on */
	rig_mail(&r, 1, 300);
	rig_pump(&r);
	assert_int_equal(r.mail[r.nmail - 1]->error, 0);
	rig_close(&r);
	start_again(&r);
	rig_drop(&r);
	rig_fini(&r);
	return (died);
}

static unsigned
stride(void)
{
	const char *s = getenv("GA_SPOOL_STRIDE");

	return (s != NULL && atoi(s) > 0 ? (unsigned)atoi(s) : 4);
}

static void
test_the_life_has_all_that_is_to_be_cut(void **state)
{
	struct ga_spool_stats st;
	unsigned n = whole_life(&st);

	(void)state;
	assert_true(st.compacted >= 2);
	assert_true(n > 400);
}

static void
cut_everywhere(enum memfs_cut cut, bool twice)
{
	unsigned n;

	for (n = 1; cut_and_check(n, cut, twice ? 1 + n % 11 : 0); n += stride())
		;
	assert_true(n > 400);
}

static void
test_nothing_synced_is_lost_and_nothing_finished_returns(void **state)
{
	(void)state;
	cut_everywhere(CUT_SYNCED, false);
}

static void
test_the_same_when_everything_reached_the_disk(void **state)
{
	(void)state;
	cut_everywhere(CUT_ALL, false);
}

static void
test_the_same_when_blocks_reached_it_by_chance(void **state)
{
	(void)state;
	cut_everywhere(CUT_RANDOM, false);
}

static void
test_a_crash_during_recovery_changes_nothing(void **state)
{
	(void)state;
	cut_everywhere(CUT_RANDOM, true);
	cut_everywhere(CUT_SYNCED, true);
}

/* One operation fails, with the power on: what is answered is true, and it goes on. */
static void
test_any_single_failure_is_survived(void **state)
{
	static const int errors[] = { EIO, ENOSPC };
	struct rig_mail *k;
	unsigned n, total;
	struct rig r;
	struct ga_spool_stats st;

	(void)state;
	total = whole_life(&st);
	for (n = 1; n < total; n += stride()) {
		rig_init(&r);
		memfs_fail_at(r.disk, n, errors[n % 2]);
		if (rig_open(&r) != 0) {
			rig_drop(&r);
			assert_int_equal(rig_open(&r), 0);
		}
		live(&r);
		rig_pump(&r);
		memfs_fail_at(r.disk, 0, 0);
		k = rig_mail(&r, 1, 300);
		rig_pump(&r);
		assert_true(k->answered);
		assert_int_equal(k->error, 0);
		rig_drop(&r);
		memfs_cut_power(r.disk, (enum memfs_cut)(n % CUT_MODES), n);
		start_again(&r);
		rig_drop(&r);
		rig_fini(&r);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_life_has_all_that_is_to_be_cut),
		cmocka_unit_test(test_nothing_synced_is_lost_and_nothing_finished_returns),
		cmocka_unit_test(test_the_same_when_everything_reached_the_disk),
		cmocka_unit_test(test_the_same_when_blocks_reached_it_by_chance),
		cmocka_unit_test(test_a_crash_during_recovery_changes_nothing),
		cmocka_unit_test(test_any_single_failure_is_survived),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
