"""Who is in a room: members, their arrival and departure, and the owners."""
