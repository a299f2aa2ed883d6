"""Checks between the network and the pages: every request passes ``gate`` before a page sees a byte of it.

gate         calls the other checks in order, and answers if one of them refuses
routes       which requests exist; every other one is refused, whatever Gradio would do with it
password     who may enter
bodies       how many bytes are read, and for how long
visitors     to which browser a session belongs
joining      which parts of a visitor's message reach a page
receiving    where uploads are kept, how many, and who may use them
headers      what a browser may do with an answer
connections  how long a browser may take to send the head of a request
folder       the folder of the server's temporary files; folders of killed servers are removed
"""
