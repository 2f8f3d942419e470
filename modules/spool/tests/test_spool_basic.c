/* test_spool_basic.c - commit, update, done, read, recover; limits of room; foreign files. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../crc32c.h"
#include "harness.h"

static void
test_crc32c_is_the_one_of_rfc3720(void **state)
{
	unsigned char zeros[32] = { 0 }, all[300];
	size_t i, n;

	(void)state;
	assert_int_equal(spool_crc32c(0, zeros, 32), 0x8a9136aa);
	assert_int_equal(spool_crc32c(0, "123456789", 9), 0xe3069283);
	for (i = 0; i < sizeof all; i++)
		all[i] = (unsigned char)(i * 13);
	for (n = 0; n < sizeof all; n++) {
		assert_int_equal(spool_crc32c(7, all, n), spool_crc32c_portable(7, all, n));
		assert_int_equal(spool_crc32c(spool_crc32c(0, all, n / 3), all + n / 3, n - n / 3),
		    spool_crc32c(0, all, n));
	}
}

static void
restart(struct rig *r)
{
	rig_close(r);
	assert_int_equal(rig_open(r), 0);
	rig_recover(r);
}

static void
test_what_was_committed_is_there_after_a_restart(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	rig_mail(&r, 1, 500);
	rig_mail(&r, 3, 0);
	rig_mail(&r, 2, 4000);
	rig_mail(&r, 1, 20000);			/* large: a body of its own */
	rig_pump(&r);
	for (int i = 0; i < 4; i++)
		assert_true(r.mail[i]->answered && r.mail[i]->error == 0);
	rig_update(&r, r.mail[0], 0);
	rig_update(&r, r.mail[1], 2);
	rig_done(&r, r.mail[1], 0);
	rig_pump(&r);
	restart(&r);
	rig_verify(&r, false);
	rig_verify_bodies(&r, false);
	assert_int_equal(r.mail[0]->found + r.mail[1]->found + r.mail[2]->found + r.mail[3]->found, 4);
	for (int i = 0; i < 4; i++)
		for (uint32_t e = 0; e < r.mail[i]->nenv; e++)
			rig_done(&r, r.mail[i], e);
	rig_pump(&r);
	restart(&r);
	rig_verify(&r, false);
	assert_int_equal(r.errors, 0);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_250_only_after_sync(void **state)
{
	struct rig r;
	struct rig_mail *k;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	k = rig_mail(&r, 1, 100);
	memfs_fail_syncs(r.disk, EIO);
	commit_step(r.s);
	assert_false(k->answered);
	assert_null(r.posts);
	rig_pump(&r);
	assert_true(k->answered);
	assert_int_equal(k->error, EIO);
	memfs_fail_syncs(r.disk, 0);
	rig_pump(&r);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_many_messages_share_one_sync(void **state)
{
	struct ga_spool_stats st;
	struct rig r;

	(void)state;
	rig_init(&r);
	r.conf.segment_size = 4u << 20;
	assert_int_equal(rig_open(&r), 0);
	for (int i = 0; i < 100; i++)
		rig_mail(&r, 1, 1000);
	rig_pump(&r);
	spool_get_stats(r.s, &st);
	assert_int_equal(st.commits, 100);
	assert_int_equal(st.syncs, 1);
	assert_int_equal(st.messages, 100);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_short_writes_are_written_on(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	memfs_short_writes(r.disk, 117);
	for (int i = 0; i < 30; i++)
		rig_mail(&r, 2, 1500);
	rig_mail(&r, 1, 30000);
	rig_pump(&r);
	memfs_short_writes(r.disk, 0);
	restart(&r);
	rig_verify(&r, false);
	rig_verify_bodies(&r, false);
	assert_int_equal(r.errors, 0);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_a_full_disk_refuses_new_mail_and_lets_the_queue_drain(void **state)
{
	unsigned i, refused = 0;
	struct rig_mail *k;
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	rig_pump(&r);
	memfs_fail_room(r.disk, ENOSPC);
	for (i = 0; i < 60; i++) {
		k = rig_mail(&r, 1, 3000);
		rig_pump(&r);
		assert_true(k->answered);
		assert_true(k->error == 0 || k->error == ENOSPC);
		refused += k->error == ENOSPC;
	}
	assert_in_range(refused, 10, 50);
	assert_int_equal(spool_room(r.s, 1000), ENOSPC);
	/* results and bounces go on, in the reserve */
	for (i = 0; i < 10; i++)
		if (r.mail[i]->error == 0)
			rig_update(&r, r.mail[i], 0);
	k = rig_bounce(&r, r.mail[0], 0);
	rig_pump(&r);
	assert_int_equal(k->error, 0);
	assert_true(r.mail[0]->env[0].done_acked);
	assert_int_equal(r.mail[1]->env[0].attempts_acked, 1);
	for (i = 1; i < 60; i++)
		if (r.mail[i]->error == 0)
			rig_done(&r, r.mail[i], 0);
	rig_pump(&r);
	/* what was removed is used again though the disk is still full */
	k = rig_mail(&r, 1, 3000);
	rig_pump(&r);
	assert_int_equal(k->error, 0);
	memfs_fail_room(r.disk, 0);
	restart(&r);
	rig_verify(&r, false);
	rig_verify_bodies(&r, false);
	rig_drop(&r);
	rig_fini(&r);
}

/* A campaign that fails on a full disk: what was delivered is still recorded. */
static void
test_reports_do_not_use_up_the_room_for_what_ends(void **state)
{
	struct rig_mail *k;
	unsigned i, taken, waits = 0;
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	rig_pump(&r);
	memfs_fail_room(r.disk, ENOSPC);
	do {
		k = rig_mail(&r, 3, 100);
		rig_pump(&r);
	} while (k->error == 0);
	taken = r.nmail - 1;
	for (i = 0; i < 200 && i < taken - 1; i++) {
		k = rig_bounce(&r, r.mail[i], 0);
		rig_pump(&r);
		assert_true(k->answered);
		waits += k->error == ENOSPC;
	}
	assert_true(waits > 0);
	rig_done(&r, r.mail[taken - 1], 0);
	rig_pump(&r);
	assert_true(r.mail[taken - 1]->env[0].done_acked);
	memfs_fail_room(r.disk, 0);
	rig_pump(&r);
	restart(&r);
	rig_verify(&r, false);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_room_is_kept_free_on_the_file_system(void **state)
{
	struct rig_mail *k;
	struct rig r;

	(void)state;
	rig_init(&r);
	r.conf.min_free = 1 << 20;
	assert_int_equal(rig_open(&r), 0);
	rig_pump(&r);
	assert_int_equal(spool_room(r.s, 1000), 0);
	assert_int_equal(spool_room(r.s, UINT64_C(1) << 30), ENOSPC);
	memfs_set_free(r.disk, 1000);
	rig_pump(&r);
	rig_pump(&r);
	k = rig_mail(&r, 1, 100);
	rig_pump(&r);
	assert_int_equal(k->error, ENOSPC);
	memfs_set_free(r.disk, 2 << 20);
	rig_pump(&r);
	rig_pump(&r);
	k = rig_mail(&r, 1, 100);
	rig_pump(&r);
	assert_int_equal(k->error, 0);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_a_failed_sync_answers_451_and_loses_nothing_else(void **state)
{
	struct ga_spool_stats st;
	struct rig_mail *k;
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	for (int i = 0; i < 5; i++)
		rig_mail(&r, 2, 800);
	rig_pump(&r);
	rig_done(&r, r.mail[0], 0);
	rig_done(&r, r.mail[0], 1);
	rig_update(&r, r.mail[1], 0);
	k = rig_mail(&r, 1, 900);
	memfs_fail_at(r.disk, 2, EIO);		/* write, then this sync */
	rig_pump(&r);
	assert_int_equal(k->error, EIO);
	assert_true(r.mail[0]->env[0].done_acked);
	assert_true(r.mail[0]->env[1].done_acked);
	assert_int_equal(r.mail[1]->env[0].attempts_acked, 1);
	spool_get_stats(r.s, &st);
	assert_int_equal(st.failed_syncs, 1);
	k = rig_mail(&r, 1, 900);
	rig_pump(&r);
	assert_int_equal(k->error, 0);
	/* everything reached the disk after all: the refused message must not come back */
	rig_drop(&r);
	memfs_cut_power(r.disk, CUT_ALL, 1);
	assert_int_equal(rig_open(&r), 0);
	rig_recover(&r);
	rig_verify(&r, false);
	assert_int_equal(r.mail[5]->found, 0);
	assert_int_equal(r.mail[6]->found, 1);
	rig_verify_bodies(&r, false);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_a_body_that_cannot_be_synced_is_refused(void **state)
{
	struct rig_mail *k;
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	rig_pump(&r);
	k = rig_mail(&r, 1, 20000);
	memfs_fail_syncs(r.disk, EIO);
	rig_pump(&r);
	assert_int_equal(k->error, EIO);
	memfs_fail_syncs(r.disk, 0);
	k = rig_mail(&r, 1, 20000);
	rig_pump(&r);
	assert_int_equal(k->error, 0);
	restart(&r);
	rig_verify(&r, false);
	rig_verify_bodies(&r, false);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_an_unknown_format_is_refused_and_left_alone(void **state)
{
	char names[8][32];
	unsigned char *p;
	struct rig r;
	size_t n;
	unsigned before;
	uint32_t crc;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	rig_mail(&r, 1, 500);
	rig_close(&r);
	assert_true(memfs_list(r.disk, MEMFS_SPOOL, ".seg", names, 8) > 0);
	p = memfs_data(r.disk, MEMFS_SPOOL, names[0], &n);
	p[8] = 2;
	crc = spool_crc32c(0, p, 56);
	for (int i = 0; i < 4; i++)
		p[56 + i] = (unsigned char)(crc >> (8 * i));
	before = memfs_count(r.disk);
	assert_int_equal(rig_open(&r), EPROTONOSUPPORT);
	assert_int_equal(memfs_count(r.disk), before);
	assert_int_equal(r.errors, 1);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_states_are_kept_until_replaced(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	spool_put_state(r.s, NULL, GA_STR("k"), GA_STR("one"));
	spool_put_state(r.s, NULL, GA_STR("k"), GA_STR("two"));
	restart(&r);
	assert_string_equal(r.state, "two");
	/* they outlive the segments that they were written to */
	for (int i = 0; i < 200; i++) {
		struct rig_mail *k = rig_mail(&r, 1, 3000);

		rig_pump(&r);
		assert_int_equal(k->error, 0);
		rig_done(&r, k, 0);
		rig_pump(&r);
	}
	restart(&r);
	assert_string_equal(r.state, "two");
	spool_put_state(r.s, NULL, GA_STR("k"), GA_STR(""));
	restart(&r);
	assert_string_equal(r.state, "");
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_without_fsync_the_record_says_so(void **state)
{
	struct ga_spool_stats st;
	struct rig r;

	(void)state;
	rig_init(&r);
	r.conf.fsync = false;
	assert_int_equal(rig_open(&r), 0);
	rig_mail(&r, 1, 500);
	rig_pump(&r);
	spool_get_stats(r.s, &st);
	assert_int_equal(st.syncs, 0);
	assert_true(r.mail[0]->m->flags & GA_MSG_NO_FSYNC);
	restart(&r);
	rig_verify(&r, false);
	rig_drop(&r);
	rig_fini(&r);
}

static void
test_a_long_life_keeps_the_disk_small(void **state)
{
	struct ga_spool_stats st;
	struct rig_mail *old[20], *k;
	struct rig r;
	int i;

	(void)state;
	rig_init(&r);
	assert_int_equal(rig_open(&r), 0);
	for (i = 0; i < 20; i++)
		old[i] = rig_mail(&r, 2, 1000);
	rig_pump(&r);
	for (i = 0; i < 1200; i++) {
		k = rig_mail(&r, 1, 2500);
		rig_pump(&r);
		assert_int_equal(k->error, 0);
		rig_done(&r, k, 0);
		if (i % 20 == 0)
			rig_update(&r, old[i / 20 % 20], (uint32_t)(i / 400) % 2);
		if (i == 600)
			rig_done(&r, old[3], 0);
		rig_pump(&r);
	}
	spool_get_stats(r.s, &st);
	assert_true(st.compacted > 0);
	/* 3 MB went through; 60 KB are live */
	assert_in_range(st.bytes, 0, 20 * RIG_SEGMENT);
	restart(&r);
	rig_verify(&r, false);
	rig_verify_bodies(&r, false);
	assert_int_equal(r.errors, 0);
	rig_drop(&r);
	rig_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c_is_the_one_of_rfc3720),
		cmocka_unit_test(test_what_was_committed_is_there_after_a_restart),
		cmocka_unit_test(test_250_only_after_sync),
		cmocka_unit_test(test_many_messages_share_one_sync),
		cmocka_unit_test(test_short_writes_are_written_on),
		cmocka_unit_test(test_a_full_disk_refuses_new_mail_and_lets_the_queue_drain),
		cmocka_unit_test(test_reports_do_not_use_up_the_room_for_what_ends),
		cmocka_unit_test(test_room_is_kept_free_on_the_file_system),
		cmocka_unit_test(test_a_failed_sync_answers_451_and_loses_nothing_else),
		cmocka_unit_test(test_a_body_that_cannot_be_synced_is_refused),
		cmocka_unit_test(test_an_unknown_format_is_refused_and_left_alone),
		cmocka_unit_test(test_states_are_kept_until_replaced),
		cmocka_unit_test(test_without_fsync_the_record_says_so),
		cmocka_unit_test(test_a_long_life_keeps_the_disk_small),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
