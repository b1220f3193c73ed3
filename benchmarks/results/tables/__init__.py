"""Tables of the results pages. What commands measured enters, tables in Markdown leave; scores nothing itself."""
