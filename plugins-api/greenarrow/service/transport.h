/*
 * transport.h - service "transport": how a connection to a remote host is made.
 * Level strict.  Several providers; the route's settings choose one by name
 * (transport_direct is the default).
 */
#ifndef GREENARROW_SERVICE_TRANSPORT_H
#define GREENARROW_SERVICE_TRANSPORT_H

#include <greenarrow/net.h>
#include <greenarrow/service/route.h>

GA_BEGIN

#define GA_TRANSPORT_SERVICE "transport"
#define GA_TRANSPORT_VERSION 1

struct ga_transport_open;	/* one opening under way; the provider's */

struct ga_transport_target {
	const struct ga_route *route;
	const struct ga_route_host *host;
	const struct ga_sockaddr *address;	/* one of host's */
	const struct ga_route_source *source;
	uint32_t timeout_ms;
};

struct ga_transport {
	uint32_t size, version;
	/* True when this provider serves the route.  Asked in the order of load_module,
	 * last loaded first; transport_direct says yes to all. */
	bool (*serves)(const struct ga_route *);
	/* Ends in exactly one cb on the loop, never inside the call, unless cancelled. */
	struct ga_transport_open *(*open)(struct ga_worker *, const struct ga_transport_target *,
	    ga_connect_fn *cb, void *arg);
	void (*cancel)(struct ga_transport_open *);
};

GA_END

#endif
