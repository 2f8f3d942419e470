/*
 * fuzz_auth.c - any octets from a client where AUTH is spoken.
 *
 * What must hold: replies are lines; nobody may relay who was not told 235; and when the
 * client has gone everything it used has come back.
 */
#include <unistd.h>

#include "../../../tests/fuzz/fuzz.h"
#include "../auth.h"
#include "module/log.h"
#include "world.h"

#define KEYS "ann:{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=," \
	"wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n"
#define TRY "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\n"

static const struct fuzz_input inputs[] = {
	FUZZ_INPUT("EHLO c\r\nAUTH PLAIN AGFubgBwZW5jaWw=\r\n" TRY),
	FUZZ_INPUT("EHLO c\r\nAUTH PLAIN\r\nAGFubgBub3QgaXQ=\r\nAUTH LOGIN YW5u\r\n*\r\n" TRY),
	FUZZ_INPUT("EHLO c\r\nAUTH LOGIN\r\nYW5u\r\ncGVuY2ls\r\nSTARTTLS\r\n" TRY),
	/* n,,n=ann,r=abc and c=biws,r=abc,p=AAAA */
	FUZZ_INPUT("EHLO c\r\nAUTH SCRAM-SHA-256 biwsbj1hbm4scj1hYmM=\r\nYz1iaXdzLHI9YWJjLHA9QUFBQQ==\r\n" TRY),
	FUZZ_INPUT("EHLO c\r\nAUTH SCRAM-SHA-256\r\neSxhPWFubixuPWFubixyPWFiYw==\r\n=\r\nMAIL FROM:<> AUTH=a+2Bb@c.example\r\n"),
};

static struct world *world;
static bool for_anyone;			/* <postmaster>, in any case */

static bool
contains_postmaster(const char *p, size_t n)
{
	for (; n >= 10; p++, n--)
		if (ga_str_caseeq((struct ga_str){ p, 10 }, GA_STR("postmaster")))
			return true;
	return false;
}

static void
make_world(void)
{
	char path[] = "/tmp/ga-fuzz-XXXXXX", text[200];
	int fd = mkstemp(path);

	FUZZ_CHECK(fd >= 0 && write(fd, KEYS, sizeof KEYS - 1) == sizeof KEYS - 1);
	close(fd);
	gac_log_level(GA_ERR);
	snprintf(text, sizeof text, "smtp_auth optional\nsmtp_auth_without_tls yes\nsmtpd_auth_delay 0s\n"
	    "max_auth_failures_per_client 0\nsmtp_users_file \"%s\"\n", path);
	world = world_new(text);
	world->gen->tls = (struct ga_tls_server *)(void *)world;
	world->relays = false;
	unlink(path);
}

static void
check_replies(const char *p)
{
	bool in = false;

	for (; *p != '\0'; p = strstr(p, "\r\n") + 2) {
		FUZZ_CHECK(strstr(p, "\r\n") != NULL && strchr("2345", p[0]) != NULL);
		in = in || strncmp(p, "235 ", 4) == 0;
		if (strncmp(p, "250 2.1.5", 9) == 0)
			FUZZ_CHECK(in || for_anyone);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (world == NULL)
		make_world();
	world->piece = n % 2 == 0 ? SIZE_MAX : 1 + n % 7;
	for_anyone = contains_postmaster((const char *)data, n);
	world_connect(world);
	world_send(world, (const char *)data, n);
	world_disconnect(world);
	FUZZ_CHECK(!world->connected && world->worker->nsessions == 0);
	check_replies(world_heard(world));
	ga_pool_reset(world->pool);
	return 0;
}

FUZZ_MAIN(inputs);
