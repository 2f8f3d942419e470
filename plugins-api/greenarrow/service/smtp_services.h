/*
 * smtp_services.h - services "smtp_services" and "down_marks": smtp_service blocks put
 * down, brought up and restarted one by one, without a reload.  Level strict.  And what
 * their directories are called.
 *
 * A service that is down has no listener; its sessions go on to their end, as they do over
 * a restart.  A reload leaves down what is down; the end of the daemon forgets it.
 */
#ifndef GREENARROW_SERVICE_SMTP_SERVICES_H
#define GREENARROW_SERVICE_SMTP_SERVICES_H

#include <greenarrow/ga_mem.h>
#include <greenarrow/loop.h>

GA_BEGIN

#define GA_SMTP_SERVICES_SERVICE "smtp_services"
#define GA_SMTP_SERVICES_VERSION 1

enum ga_smtp_service_state {
	GA_SMTP_SERVICE_UP,		/* it listens */
	GA_SMTP_SERVICE_DOWN,		/* it was put down, or did not come up */
	GA_SMTP_SERVICE_DISABLED	/* it is not down, but its settings leave it no listener */
};

enum ga_smtp_service_action {
	GA_SMTP_SERVICE_RESTART,	/* read its files again, listen as they say.  Down: nothing */
	GA_SMTP_SERVICE_TO_UP,		/* the same, when it is down.  Not down: nothing */
	GA_SMTP_SERVICE_TO_DOWN		/* listen no more.  Down: nothing */
};

/*
 * One action.  The memory is the caller's and must live until done.  One action at a time for a
 * service.  done: on the main loop, exactly once, never inside the call, but not after the
 * daemon has ended.  why: NULL: it is done; else a sentence: nothing has changed (what listened
 * before still does).  What is wrong in a file has then been logged with file:line:column.
 * A restart keeps descriptors of addresses that stay: no client is refused.
 */
struct ga_smtp_service_change {
	struct ga_post post;		/* private */
	const char *name;		/* of the smtp_service, as names() gives it */
	enum ga_smtp_service_action action;
	void (*done)(struct ga_smtp_service_change *, const char *why);
	void *arg;
};

struct ga_smtp_services {
	uint32_t size, version;
	/* each(name, arg) for every smtp_service of the configuration in force; name lives as
	 * long as the process, and is the same pointer each time.  Main loop. */
	void (*names)(void (*each)(const char *name, void *arg), void *arg);
	/* Main loop.  A name that is not in force: DOWN. */
	enum ga_smtp_service_state (*state)(const char *name);
	/* Any loop.  Files are read on a helper thread. */
	void (*change)(struct ga_smtp_service_change *);
	/* changed(arg) on the main loop when names or states may be others because of the start
	 * or a reload.  One watcher; the last one set.  Main loop. */
	void (*watch)(void (*changed)(void *arg), void *arg);
};

/*
 * Who remembers over a restart of the daemon that a service is to stay down.  Provided by a module that
 * is loaded before the one that listens, asked in its init and reload for each service that
 * is new, before any of its addresses is bound.  Main thread or main loop.
 */
#define GA_DOWN_MARKS_SERVICE "down_marks"
#define GA_DOWN_MARKS_VERSION 1
struct ga_down_marks {
	uint32_t size, version;
	bool (*marked)(const char *name);
};

/*
 * The name of an smtp_service among directories (of logs, of services): qmail-smtpd for smtp,
 * qmail-smtpd2 for smtp2, qmail-smtpd-NAME for another NAME, in lower case and with _ for what is not a
 * letter, digit, dot or hyphen.  At most 64 octets and a NUL are written to out, and returned
 * without the NUL.  Any thread.
 */
#define GA_SMTP_SERVICE_DIRECTORY 65
GA_EXPORT struct ga_str ga_smtp_service_directory(struct ga_str name,
    char out[GA_SMTP_SERVICE_DIRECTORY]);

GA_END

#endif
