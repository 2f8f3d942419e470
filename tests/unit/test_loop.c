/*
 * test_loop.c - mailboxes, timers and watchers, on loops with threads of their own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <greenarrow/ga_async.h>

#include "loop/loop.h"
#include "module/helpers.h"

static _Atomic unsigned nstarted, nended;

static void
before(struct ga_worker *w)
{
	if (ga_worker_self() != w)
		abort();
	atomic_fetch_add(&nstarted, 1);
}

static void
after(struct ga_worker *w)
{
	(void)w;
	atomic_fetch_add(&nended, 1);
}

static void
up(unsigned workers)
{
	nstarted = nended = 0;
	gac_loops_init(workers);
	gac_loops_start(before);
}

static void
down(unsigned workers)
{
	gac_loops_stop(after);
	assert_int_equal(nstarted, workers);
	assert_int_equal(nended, workers);
	gac_loops_free();
}

/* Waits for another thread's doing; 20 s is never. */
static bool
comes(_Atomic unsigned *what, unsigned value)
{
	for (unsigned i = 0; i < 20000 && atomic_load(what) != value; i++)
		usleep(1000);
	return atomic_load(what) == value;
}

/* --- mailboxes --- */

#define SENDERS 4
#define POSTS 20000

struct numbered {
	struct ga_post post;
	unsigned sender, number;
};
static struct numbered posts[SENDERS][POSTS];
static unsigned next_of[SENDERS];
static _Atomic unsigned received, out_of_order;

static void
receive(struct ga_worker *w, struct ga_post *post)
{
	struct numbered *p = GA_CONTAINER(post, struct numbered, post);

	if (w != ga_worker_get(0) || next_of[p->sender]++ != p->number)
		atomic_fetch_add(&out_of_order, 1);
	atomic_fetch_add(&received, 1);
}

static void *
sender(void *arg)
{
	struct numbered *mine = arg;

	for (unsigned i = 0; i < POSTS; i++)
		ga_loop_post(ga_worker_get(0), &mine[i].post);
	return NULL;
}

static void
test_every_post_arrives_once_and_in_the_order_of_its_sender(void **state)
{
	pthread_t threads[SENDERS];

	(void)state;
	up(2);
	for (unsigned s = 0; s < SENDERS; s++) {
		for (unsigned i = 0; i < POSTS; i++)
			posts[s][i] = (struct numbered){ { NULL, receive }, s, i };
		assert_int_equal(pthread_create(&threads[s], NULL, sender, posts[s]), 0);
	}
	for (unsigned s = 0; s < SENDERS; s++)
		pthread_join(threads[s], NULL);
	assert_true(comes(&received, SENDERS * POSTS));
	assert_int_equal(out_of_order, 0);
	down(2);
}

static _Atomic unsigned ping_pongs;
static __thread unsigned inside;
static struct ga_post ball;

static void
bounce(struct ga_worker *w, struct ga_post *post)
{
	if (inside++ != 0)
		abort();		/* a post never runs inside ga_loop_post() */
	if (atomic_fetch_add(&ping_pongs, 1) < 10000)
		ga_loop_post(ga_worker_get(1 - ga_worker_index(w)), post);
	inside--;
}

static void
test_a_post_may_be_sent_on_from_its_own_function(void **state)
{
	(void)state;
	ping_pongs = 0;
	up(2);
	ball.fn = bounce;
	ga_loop_post(ga_worker_get(0), &ball);
	assert_true(comes(&ping_pongs, 10001));
	down(2);
}

/* A post that posts itself again and takes 100 us: a timer of the same loop is served nevertheless. */
static _Atomic unsigned fired, stop_it, stopped;
static struct ga_timer *timer;

static void
busy(struct ga_worker *w, struct ga_post *post)
{
	usleep(100);
	if (!atomic_load(&stop_it))
		ga_loop_post(w, post);
	else
		atomic_store(&stopped, 1);
}

static void
fire(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	(void)inst;
	(void)w;
	(void)arg;
	atomic_fetch_add(&fired, 1);
}

static void
arm(struct ga_worker *w, struct ga_post *post)
{
	(void)post;
	timer = ga_timer_new(NULL, w, fire, NULL);
	ga_timer_arm(timer, 10, 10);
}

static void
test_posts_that_never_end_do_not_keep_timers_waiting(void **state)
{
	static struct ga_post a, b;

	(void)state;
	fired = stop_it = stopped = 0;
	up(1);
	a.fn = busy;
	b.fn = arm;
	ga_loop_post(ga_worker_get(0), &a);
	ga_loop_post(ga_worker_get(0), &b);
	for (unsigned i = 0; i < 20000 && atomic_load(&fired) < 5; i++)
		usleep(1000);
	assert_true(atomic_load(&fired) >= 5);
	atomic_store(&stop_it, 1);
	assert_true(comes(&stopped, 1));
	down(1);			/* the timer is still there: it goes with the loop */
}

/* --- timers and watchers, turned by hand --- */

static char order[16];
static unsigned norder;

static void
note(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	(void)inst;
	(void)w;
	order[norder++] = *(const char *)arg;
}

static struct ga_timer *own;

static void
free_itself(struct ga_inst *inst, struct ga_worker *w, void *arg)
{
	note(inst, w, arg);
	ga_timer_free(own);
	own = NULL;
}

static void
turn_for(unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		ev_run(gac_loop_ev(ga_worker_get(0)), EVRUN_NOWAIT);
		usleep(1000);
	}
}

static void
test_timers_fire_in_the_order_of_their_times(void **state)
{
	struct ga_worker *w;
	struct ga_timer *a, *b, *c;

	(void)state;
	gac_loops_init(1);
	w = ga_worker_get(0);
	norder = 0;
	a = ga_timer_new(NULL, w, note, (void *)(uintptr_t)"a");
	b = ga_timer_new(NULL, w, note, (void *)(uintptr_t)"b");
	c = ga_timer_new(NULL, w, note, (void *)(uintptr_t)"c");
	own = ga_timer_new(NULL, w, free_itself, (void *)(uintptr_t)"o");
	ga_timer_arm(a, 60, 0);
	ga_timer_arm(b, 20, 0);
	ga_timer_arm(c, 10, 0);
	ga_timer_arm(c, 90, 0);			/* arming again replaces */
	ga_timer_arm(own, 40, 0);
	assert_true(ga_timer_armed(a));
	turn_for(150);
	assert_int_equal(norder, 4);
	assert_memory_equal(order, "boac", 4);
	assert_false(ga_timer_armed(a));
	ga_timer_arm(a, 10, 0);
	ga_timer_stop(a);
	turn_for(30);
	assert_int_equal(norder, 4);
	ga_timer_free(a);
	ga_timer_free(b);
	ga_timer_free(NULL);
	gac_loops_free();			/* c goes with its loop */
}

static unsigned readable;

static void
read_one(struct ga_inst *inst, struct ga_worker *w, int fd, unsigned events, void *arg)
{
	char c;

	(void)inst;
	(void)w;
	(void)arg;
	assert_true((events & GA_READ) != 0);
	assert_int_equal(read(fd, &c, 1), 1);
	readable++;
}

static void
test_a_watcher_tells_while_it_is_wanted(void **state)
{
	struct ga_io *io;
	int fd[2];

	(void)state;
	gac_loops_init(1);
	readable = 0;
	assert_int_equal(pipe(fd), 0);
	io = ga_io_new(NULL, ga_worker_get(0), fd[0], read_one, NULL);
	assert_int_equal(write(fd[1], "abc", 3), 3);
	turn_for(3);
	assert_int_equal(readable, 0);		/* nothing was wanted */
	ga_io_want(io, GA_READ);
	turn_for(1);
	ga_io_want(io, 0);
	turn_for(3);
	assert_int_equal(readable, 1);
	ga_io_want(io, GA_READ);
	turn_for(5);
	assert_int_equal(readable, 3);
	ga_io_free(io);
	close(fd[0]);
	close(fd[1]);
	gac_loops_free();
}

static void
test_new_sessions_go_where_the_fewest_are(void **state)
{
	(void)state;
	gac_loops_init(3);
	ga_worker_load(ga_worker_get(0), 2);
	ga_worker_load(ga_worker_get(1), 1);
	ga_worker_load(ga_worker_get(2), 2);
	for (unsigned i = 0; i < 10; i++)
		assert_ptr_equal(gac_worker_least_loaded(), ga_worker_get(1));
	ga_worker_load(ga_worker_get(2), -2);
	assert_ptr_equal(gac_worker_least_loaded(), ga_worker_get(2));
	assert_null(ga_worker_get(3));
	assert_int_equal(ga_worker_index(ga_worker_main()), 3);
	gac_loops_free();
}

struct job {
	struct ga_work work;
	bool ran_on_a_loop;
};
static struct job job;
static _Atomic unsigned ran, done_where;

static void
run_job(struct ga_work *work)
{
	struct job *j = GA_CONTAINER(work, struct job, work);

	j->ran_on_a_loop = ga_worker_self() != NULL;
	atomic_fetch_add(&ran, 1);
}

static void
job_done(struct ga_worker *w, struct ga_work *work)
{
	if (work == &job.work && ga_worker_self() == w)
		atomic_store(&done_where, 1 + ga_worker_index(w));
}

static void
ask_for_work(struct ga_worker *w, struct ga_post *post)
{
	(void)post;
	job.work.run = run_job;
	job.work.done = job_done;
	ga_work(w, &job.work);
	if (done_where != 0)
		abort();		/* not inside the call */
}

static void
test_work_is_done_elsewhere_and_ends_on_the_loop_that_asked(void **state)
{
	struct ga_post post = { NULL, ask_for_work };

	(void)state;
	up(2);
	ga_loop_post(ga_worker_get(1), &post);
	assert_true(comes(&done_where, 2));
	assert_int_equal(ran, 1);
	assert_false(job.ran_on_a_loop);
	gac_helpers_stop();
	down(2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_post_arrives_once_and_in_the_order_of_its_sender),
		cmocka_unit_test(test_a_post_may_be_sent_on_from_its_own_function),
		cmocka_unit_test(test_posts_that_never_end_do_not_keep_timers_waiting),
		cmocka_unit_test(test_timers_fire_in_the_order_of_their_times),
		cmocka_unit_test(test_a_watcher_tells_while_it_is_wanted),
		cmocka_unit_test(test_new_sessions_go_where_the_fewest_are),
		cmocka_unit_test(test_work_is_done_elsewhere_and_ends_on_the_loop_that_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
