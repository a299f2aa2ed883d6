"""What stands between the network and the pages: every request passes ``gate`` before any page sees a byte of it.

gate         asks the rest in order, and answers where one of them refuses
routes       which requests exist; any other is refused, whatever Gradio would do with it
password     who may come in
bodies       how much is read, and for how long
visitors     whose session it is
joining      what of a visitor's message reaches a page
receiving    where uploads lie, how many, and who may use them
headers      what a browser may do with an answer
connections  how long a request may take to say what it wants
folder       where the server's temporary files lie, and the removal of those that a killed server left
"""
