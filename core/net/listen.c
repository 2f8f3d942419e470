/*
 * listen.c - acceptors: sockets that listen, on the main loop (net.h).
 *
 * Modules declare addresses when they start and at each reload; the daemon
 * brackets that with begin and commit or rollback.  Between reloads a group of
 * listeners (those of one inst and arg) can be changed by itself, all or nothing.  An address that stays keeps
 * its descriptor, so no client is refused by a reload.  Each accepted socket is
 * posted to the worker loop with the fewest sessions, counted from the moment it
 * is posted, so that a burst spreads too.
 *
 * Without descriptors left, a listening socket stays readable and accept() keeps
 * failing: the watcher then rests for REST_S instead of spinning, and the log
 * says so once a minute.
 *
 * Known limit: an address and the wildcard of its port cannot be open at once,
 * so a reload from 0.0.0.0:25 to 192.0.2.1:25 is refused (address in use).
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "loop/loop.h"
#include "module/log.h"
#include "net/listen.h"

enum { BACKLOG = 1024, ACCEPTS_A_TURN = 64, CLOSING_ACCEPTS = 4096 };
static const double REST_S = 0.1;
static const uint64_t complaint_us = 60 * 1000 * 1000;

/* Who gets the sockets of a listener. */
struct taker {
	struct ga_inst *inst;
	ga_accept_fn *accepted;
	void *arg;
};

struct listener {
	LIST_ENTRY(listener) list;
	struct ga_sockaddr address;
	struct ev_io io;		/* io.fd is ours */
	struct ev_timer rest;
	struct taker now, next;
	bool declared;			/* since begin */
	bool committed;			/* open before begin */
	bool paused;
};

/* A socket on its way to a worker. */
struct accepted {
	struct ga_post post;
	struct taker taker;
	int fd;
	struct ga_sockaddr peer, local;
};

static struct {
	LIST_HEAD(, listener) all;
	uint64_t complained_us;
	bool declaring;			/* between begin and commit or rollback */
	bool closed;			/* the daemon stops */
} listeners = { .all = LIST_HEAD_INITIALIZER(listeners.all) };

static struct ev_loop *main_ev(void)
{
	return gac_loop_ev(ga_worker_main());
}

static bool is_wildcard(const struct ga_sockaddr *a)
{
	struct ga_cidr any = { .family = AF_INET, .bits = 32 };
	struct ga_cidr any6 = { .family = AF_INET6, .bits = 128 };

	return ga_cidr_match(&any, a) || ga_cidr_match(&any6, a);
}

/* --- accepting --- */

static void hand_over(struct ga_worker *w, struct ga_post *post)
{
	struct accepted *a = GA_CONTAINER(post, struct accepted, post);
	struct taker *t = &a->taker;

	/* Only the kernel knows which address of a wildcard was meant. */
	if (is_wildcard(&a->local)) {
		a->local.len = sizeof(a->local.u);
		if (getsockname(a->fd, &a->local.u.sa, &a->local.len) != 0)
			a->local.len = 0;
	}
	GAC_CALL(w, t->accepted, t->inst, w, a->fd, &a->peer, &a->local, t->arg);
	ga_worker_load(w, -1);
	free(a);
}

static void dispatch(struct listener *l, int fd, const struct ga_sockaddr *peer)
{
	struct ga_worker *w = gac_worker_least_loaded();
	struct accepted *a = ga_xmalloc(sizeof(*a));

	a->post.fn = hand_over;
	a->taker = l->now;
	a->fd = fd;
	a->peer = *peer;
	a->local = l->address;
	ga_worker_load(w, 1);
	ga_loop_post(w, &a->post);
}

static bool is_shortage(int e)
{
	return e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM;
}

static void take_rest(struct listener *l, int e)
{
	uint64_t now = ga_mono_us();
	char text[GA_SOCKADDR_TEXT];

	ev_io_stop(main_ev(), &l->io);
	ev_timer_set(&l->rest, REST_S, 0.);
	ev_timer_start(main_ev(), &l->rest);
	if (listeners.complained_us != 0 && now - listeners.complained_us < complaint_us)
		return;
	listeners.complained_us = now;
	gac_log(GA_WARN, "core", "GA-NET-0001", "accept on %s: %s; clients wait",
	    ga_sockaddr_text(&l->address, true, text), strerrordesc_np(e));
}

/* 0: EAGAIN or the limit was reached; else the errno of a shortage */
static int accept_some(struct listener *l, int limit)
{
	for (int i = 0; i < limit; i++) {
		struct ga_sockaddr peer = { .len = sizeof(peer.u) };
		int fd = accept4(l->io.fd, &peer.u.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			dispatch(l, fd, &peer);
		else if (errno == EAGAIN)
			return 0;
		else if (is_shortage(errno))
			return errno;
		/* anything else is about that one connection (accept(2)) */
	}
	return 0;
}

static void acceptable(struct ev_loop *ev, struct ev_io *io, int revents)
{
	struct listener *l = io->data;
	int e = accept_some(l, ACCEPTS_A_TURN);

	(void)ev;
	(void)revents;
	if (e != 0)
		take_rest(l, e);
}

static void rested(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct listener *l = timer->data;

	(void)revents;
	if (!l->paused)
		ev_io_start(ev, &l->io);
}

/* --- opening and closing --- */

static int open_socket(const struct ga_sockaddr *a, const char **what)
{
	static const int on = 1;
	int e, fd;

	*what = "socket";
	fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	*what = "bind";
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->u.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, &a->u.sa, a->len) == 0) {
		*what = "listen";
		if (listen(fd, BACKLOG) == 0)
			return fd;
	}
	e = errno;
	close(fd);
	errno = e;
	return -1;
}

static struct listener *open_listener(const struct ga_sockaddr *address, const char **what)
{
	int fd = open_socket(address, what);
	struct listener *l;

	if (fd < 0)
		return NULL;
	l = ga_xcalloc(1, sizeof(*l));
	l->address = *address;
	ev_io_init(&l->io, acceptable, fd, EV_READ);
	l->io.data = l;
	ev_timer_init(&l->rest, rested, 0., 0.);
	l->rest.data = l;
	LIST_INSERT_HEAD(&listeners.all, l, list);
	return l;
}

static void close_listener(struct listener *l)
{
	ev_io_stop(main_ev(), &l->io);
	ev_timer_stop(main_ev(), &l->rest);
	close(l->io.fd);
	LIST_REMOVE(l, list);
	free(l);
}

static struct listener *find(const struct ga_sockaddr *address)
{
	struct listener *l;

	LIST_FOREACH(l, &listeners.all, list)
		if (ga_sockaddr_equal(&l->address, address, true))
			return l;
	return NULL;
}

bool ga_listen(struct ga_inst *inst, struct ga_str address, ga_accept_fn *accepted, void *arg,
    char *err, size_t errlen)
{
	struct ga_sockaddr a;
	struct listener *l;
	const char *what;
	char text[GA_SOCKADDR_TEXT];

	if (!ga_sockaddr_parse(&a, address, 0) || ga_sockaddr_port(&a) == 0) {
		snprintf(err, errlen, "listen %.*s: not an IP:PORT", (int)(address.n < 100 ? address.n : 100),
		    address.n > 0 ? address.p : "");
		return false;
	}
	ga_sockaddr_text(&a, true, text);
	l = find(&a);
	if (l != NULL && l->declared) {
		snprintf(err, errlen, "listen %s: said twice", text);
		return false;
	}
	if (l == NULL)
		l = open_listener(&a, &what);
	if (l == NULL) {
		snprintf(err, errlen, "listen %s: %s: %s", text, what, strerrordesc_np(errno));
		return false;
	}
	l->declared = true;
	l->next = (struct taker){ inst, accepted, arg };
	return true;
}

void gac_listen_begin(void)
{
	struct listener *l;

	listeners.declaring = true;
	listeners.closed = false;
	LIST_FOREACH(l, &listeners.all, list)
		l->declared = false;
}

static struct listener *next_of(struct listener *l)
{
	return LIST_NEXT(l, list);
}

void gac_listen_commit(void)
{
	struct listener *l, *next;

	listeners.declaring = false;
	for (l = LIST_FIRST(&listeners.all); l != NULL; l = next) {
		next = next_of(l);
		if (!l->declared) {
			(void)accept_some(l, CLOSING_ACCEPTS);
			close_listener(l);
			continue;
		}
		l->now = l->next;
		if (!l->committed)
			ev_io_start(main_ev(), &l->io);
		l->committed = true;
	}
}

void gac_listen_rollback(void)
{
	struct listener *l, *next;

	listeners.declaring = false;
	for (l = LIST_FIRST(&listeners.all); l != NULL; l = next) {
		next = next_of(l);
		if (!l->committed)
			close_listener(l);
	}
}

void gac_listen_close_all(void)
{
	gac_listen_begin();
	gac_listen_rollback();
	gac_listen_commit();
	listeners.closed = true;
}

/* --- one group by itself --- */

/* All others are as if they had been declared as they are. */
static void keep_others(const struct ga_inst *inst, const void *arg)
{
	struct listener *l;

	LIST_FOREACH(l, &listeners.all, list) {
		l->next = l->now;
		l->declared = l->now.inst != inst || l->now.arg != arg;
	}
}

int ga_listen_group(struct ga_inst *inst, void *arg, const struct ga_listen_on *on, size_t n, char *err,
    size_t errlen)
{
	if (listeners.declaring)
		return -EBUSY;
	if (listeners.closed)
		return -ESHUTDOWN;
	gac_listen_begin();
	keep_others(inst, arg);
	for (size_t i = 0; i < n; i++)
		if (!ga_listen(inst, on[i].address, on[i].accepted, arg, err, errlen)) {
			gac_listen_rollback();
			return -EADDRNOTAVAIL;
		}
	gac_listen_commit();
	return 0;
}

/* --- pausing --- */

struct pause {
	struct ga_post post;
	struct ga_inst *inst;
	bool pause;
};

static void pause_here(struct ga_inst *inst, bool pause)
{
	struct listener *l;

	LIST_FOREACH(l, &listeners.all, list) {
		if (!l->committed || l->now.inst != inst || l->paused == pause)
			continue;
		l->paused = pause;
		if (pause)
			ev_io_stop(main_ev(), &l->io);
		else if (!ev_is_active(&l->rest))
			ev_io_start(main_ev(), &l->io);
	}
}

static void pause_posted(struct ga_worker *w, struct ga_post *post)
{
	struct pause *p = GA_CONTAINER(post, struct pause, post);

	(void)w;
	pause_here(p->inst, p->pause);
	free(p);
}

void ga_listen_pause(struct ga_inst *inst, bool pause)
{
	struct pause *p;

	if (ga_worker_self() == ga_worker_main()) {
		pause_here(inst, pause);
		return;
	}
	p = ga_xmalloc(sizeof(*p));
	p->post.fn = pause_posted;
	p->inst = inst;
	p->pause = pause;
	ga_loop_post(ga_worker_main(), &p->post);
}
