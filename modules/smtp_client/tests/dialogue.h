/*
 * dialogue.h - what the tests of the whole module begin with: a message for the scripted
 * peer of fake.h, and the dialogue up to the point that a test is about.
 */
#ifndef SMTP_CLIENT_DIALOGUE_H
#define SMTP_CLIENT_DIALOGUE_H

#include "fake.h"

#define BODY "Subject: x\r\n\r\nHello\r\n"
#define PLAIN "250-mx0\r\n250 SIZE 0\r\n"
#define PIPES "250-mx0\r\n250 PIPELINING\r\n"

#define GROUP "MAIL FROM:<s@x.example>\r\nRCPT TO:<r0@y.example>\r\nDATA\r\n"
#define TO_DATA "250 ok\r\n250 ok\r\n354 go\r\n"

/* A message for that many recipients on a new connection to the first of the hosts. */
void open_to(unsigned hosts, unsigned recipients);
/* Another one, for that domain: offered to saved connections, or waiting for next(). */
void more_for(const char *domain, bool offer);
/* Up to and with the reply to EHLO. */
void session(const char *offer);
/* A message is delivered, and the connection saved. */
void deliver_and_save(void);
void result_is(unsigned i, enum ga_result result, unsigned code, const char *enhanced);

/* A test with a module of its own. */
int dialogue_begin(void **state);
int dialogue_end(void **state);
#define TEST(f) cmocka_unit_test_setup_teardown(f, dialogue_begin, dialogue_end)

#endif
